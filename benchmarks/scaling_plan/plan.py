"""What large shops would cost on many machines, by the cost model."""

from collections.abc import Mapping
from typing import Any

from scaling_plan import cost_model as cost
from scaling_plan.machine import GIGABIT_25, GIGABIT_100, Machine
from scaling_plan.network import Collective, closed_form, sent_bytes, simulate_all
from scaling_plan.shares import row_shares
from scaling_plan.shop import Shop

__all__ = ['MACHINES', 'SHOPS', 'TRAINING', 'held_by_stage', 'network_cases', 'plan']

SHOPS = {
    '100 million users, 10 million items': Shop(10**8, 10**7, 10**9),
    'a billion users and items': Shop(10**9, 10**9, 10**10),
}
MACHINES = (8, 32, 128, 512)
CHANNELS, FEATURES, K, TOP, BATCH = 64, 512, 10, 20, 8192
HOPS = {
    'sampled, sharded tables': [10, 10],
    'sampled, all sharded': [10, 10],
    'the same, 1 layer': [10],
    'the same, no layer (MF)': [],
}
TRAINING = (
    'whole graph, one process',
    'whole graph, replicated',
    'whole graph, sharded',
    'sampled, one process',
    *HOPS,
)
FILLED = 0.9
"""Of the memory; the rest is for the program and the system."""


def cost_of(name: str, shop: Shop, processes: int) -> cost.Cost:
    """Return what a way of working costs a process."""
    if name == 'sampled, sharded tables':
        return cost.sharded_tables(shop, CHANNELS, HOPS[name], BATCH, processes)
    if name in HOPS:
        return cost.sharded_shop(shop, CHANNELS, HOPS[name], BATCH, processes)
    return {
        'whole graph, one process': lambda: cost.whole_graph(shop, CHANNELS, 2),
        'whole graph, replicated': lambda: cost.replicated_whole_graph(
            shop, CHANNELS, 2, processes
        ),
        'whole graph, sharded': lambda: cost.sharded_whole_graph(shop, CHANNELS, 2, processes),
        'sampled, one process': lambda: cost.sampled(shop, CHANNELS, [10, 10], BATCH),
        'item graph, exact': lambda: cost.exact_graph(shop, FEATURES, K, processes),
        'item graph, recall 0.95': lambda: cost.cell_graph(shop, FEATURES, K, processes),
        'co-interaction graph': lambda: cost.co_interaction_graph(shop, K, processes),
        'best 20 of all users': lambda: cost.top_lists(shop, CHANNELS, TOP, processes),
    }[name]()


NAMES = (
    *TRAINING,
    'item graph, exact',
    'item graph, recall 0.95',
    'co-interaction graph',
    'best 20 of all users',
)


def plan(constants: Mapping[str, float], here: Machine, most: int = 512) -> list[dict[str, Any]]:
    """Return a row for each shop, way of working and number of machines.

    Args:
        constants: Seconds of a unit of work on this machine.
        here: This machine.
        most: Machines at most. (default: ``512``)
    """
    out = []
    for title, shop in SHOPS.items():
        for name in NAMES:
            numbers = (1,) if name.endswith('one process') else MACHINES
            for processes in numbers:
                if processes <= most:
                    row = planned(name, shop, processes, constants, here)
                    out.append({'shop': title, **row})
    return out


def planned(
    name: str, shop: Shop, processes: int, constants: Mapping[str, float], here: Machine
) -> dict[str, Any]:
    """Return what a way of working costs on some machines."""
    found = cost_of(name, shop, processes)
    compute = cost.compute_seconds(found.work, constants, here, GIGABIT_100)
    even = cost.network_seconds(found, processes, GIGABIT_100)
    factor = unevenness(shop, HOPS[name], processes) if name in HOPS and processes > 1 else 1.0
    seconds = {'25': cost.network_seconds(found, processes, GIGABIT_25) * factor}
    seconds['100'] = even * factor
    hours = {speed: found.steps * (compute + network) / 3600 for speed, network in seconds.items()}
    return {
        'name': name,
        'processes': processes,
        'memory': found.memory,
        'fits': found.memory <= FILLED * GIGABIT_100.memory,
        'first': first_fit(name, shop),
        'steps': found.steps,
        'compute': compute,
        'sent': sum(sent_bytes(each, processes) for each in found.collectives),
        'even': even,
        'network': seconds['100'],
        'hours': hours['100'],
        'hours_25': hours['25'],
        'dollars': hours['100'] * processes * GIGABIT_100.price,
        'dollars_25': hours['25'] * processes * GIGABIT_25.price,
    }


def first_fit(name: str, shop: Shop) -> int | None:
    """Return the first power of two of machines whose memory is enough, up to 4,096."""
    numbers = [1] if name.endswith('one process') else [2**power for power in range(13)]
    for processes in numbers:
        if cost_of(name, shop, processes).memory <= FILLED * GIGABIT_100.memory:
            return processes
    return None


def unevenness(shop: Shop, num_neighbors: list[int], processes: int) -> float:
    """Return how much longer rows travel than if each process owned as many of a batch."""
    rows = cost.sharded_tables(shop, CHANNELS, num_neighbors, BATCH, processes).collectives[3]
    shares = row_shares(shop, BATCH, num_neighbors, processes)
    even = closed_form(rows, processes, GIGABIT_100.network)
    _, last = simulate_all([rows._replace(shares=shares)], processes, GIGABIT_100.network)
    return last / even


def network_cases(processes: int) -> list[dict[str, Any]]:
    """Return the seconds of collectives of one step on networks that are not ideal."""
    shop, hops = SHOPS['100 million users, 10 million items'], HOPS['sampled, sharded tables']
    ideal = GIGABIT_100.network
    rows = cost.sharded_tables(shop, CHANNELS, hops, BATCH, processes).collectives[3]
    shuffled, sorted_ids = (
        row_shares(shop, BATCH, hops, processes, by_popularity=flag) for flag in (False, True)
    )
    size = rows.size
    collectives = {
        'all-to-all': rows,
        'all-reduce': Collective('all_reduce', size),
        'ring': Collective('ring', size / processes),
    }
    networks = {
        'even, ideal': ideal,
        'a slow machine (a quarter)': ideal._replace(slow=(1, ideal.bandwidth / 4)),
        'a switch of a quarter': ideal._replace(switch=processes * ideal.bandwidth / 4),
    }
    cases = [
        (case, kind, network, collective)
        for case, network in networks.items()
        for kind, collective in collectives.items()
    ]
    for case, shares in (('ids in any order', shuffled), ('ids by popularity', sorted_ids)):
        cases.append((case, 'all-to-all', ideal, rows._replace(shares=shares)))
    return [
        {
            'case': case,
            'kind': kind,
            'processes': processes,
            'size': collective.size,
            'closed': closed_form(collective, processes, ideal),
            'simulated': simulate_all([collective], processes, network)[1],
        }
        for case, kind, network, collective in cases
    ]


def held_by_stage(row: Mapping[str, Any]) -> cost.Cost:
    """Return the bytes that the model gives a stage that is measured, and what it exchanges."""
    shop = Shop(row['users'], row['items'], row['interactions'])
    stage, channels, batch, hops = (
        row[key] for key in ('stage', 'channels', 'batch', 'num_neighbors')
    )
    if stage == 'propagation':
        table = cost.table_bytes(shop.rows, channels)
        return cost.Cost(cost.pair_bytes(shop) + table, cost.STEP_COPIES * table, {})
    if stage == 'dense_update':
        return cost.Cost(cost.table_bytes(shop.rows, channels, cost.ADAM_COPIES), 0.0, {})
    if stage == 'sampled':
        return cost.sampled(shop, channels, hops, batch)
    if stage == 'tables':
        return cost.sharded_tables(shop, channels, hops, batch, row['processes'])
    if stage == 'exact_neighbors':
        return cost.exact_graph(shop, channels, 0, 1)
    if stage == 'cell_neighbors':
        return cost.cell_graph(shop, channels, K, 1)
    if stage == 'co_interaction':
        return cost.co_interaction_graph(shop, K, 1)
    return cost.top_lists(shop._replace(users=batch, interactions=batch), channels, TOP, 1)
