"""Measure the stages, fit the constants, and predict what was not fitted."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from process import run_alone
from scaling_plan import stages
from scaling_plan.cost_model import Cost
from scaling_plan.fit import fit_constants, predicted_seconds
from scaling_plan.machine import Machine
from scaling_plan.network import Collective, Network, simulate_all
from scaling_plan.plan import held_by_stage, network_cases, plan
from scaling_plan.shop import Shop
from scaling_plan.together import SIZES, launch

__all__ = ['measure']

Row = dict[str, Any]
FITTED = (100_000, 300_000, 1_000_000)
HELD_OUT = 10_000_000
PROCESSES = (2, 4)
CHANNELS = {
    'propagation': (16, 64),
    'dense_update': (64,),
    'sampled': (16, 64),
    'exact_neighbors': (64, 128),
    'cell_neighbors': (64,),
    'co_interaction': (1,),
    'ranking': (16, 64),
}
# What fits into 23 GB and two minutes; of the users of the graph of paths, a share.
HELD_OUT_CHANNELS = dict.fromkeys(CHANNELS, 64) | {'propagation': 16, 'sampled': 16}
SHARES_OF_USERS = {'co_interaction': 10}
SLOW, REPEATS = ('cell_neighbors', 'exact_neighbors', 'co_interaction'), 4
NOT_AS_LARGE = {'dense_update': 4_000_000, 'cell_neighbors': 2_000_000}


def measure(quick: bool, threads: int, write: Callable[[Mapping[str, Any]], None]) -> None:
    """Measure everything, and write after each part what there is so far."""
    sizes = (3000, 10_000) if quick else FITTED
    large = 20_000 if quick else HELD_OUT
    here = this_machine(threads)
    names = ('cores', 'memory', 'memory_bandwidth', 'cache')
    results: dict[str, Any] = {'here': {name: getattr(here, name) for name in names}}
    results |= {'fitted': [], 'held_out': []}
    for stage, widths in CHANNELS.items():
        for items in sizes:
            for channels in widths[:1] if quick else widths:
                for users in sorted({items, items // SHARES_OF_USERS.get(stage, 1)}):
                    row = of_stage(stage, Shop(users, items, 10 * users), channels, threads)
                    results['fitted'].append(row)
                    write(results)
    for items in sizes:
        results['fitted'].append(of_tables(Shop(items, items, 10 * items), 64, 1, threads))
    results['fitted'] = [row for row in results['fitted'] if 'failed' not in row]
    constants = fit_constants(results['fitted'], here.cache)
    results['constants'] = constants
    write(results)
    held_out = results['held_out']
    for stage, channels in HELD_OUT_CHANNELS.items():
        items = min(large, NOT_AS_LARGE.get(stage, large))
        users = items // SHARES_OF_USERS.get(stage, 1)
        held_out.append(of_stage(stage, Shop(users, items, 10 * users), channels, threads))
        write(results)
    results['network'] = of_network(quick, threads)
    for processes in PROCESSES[: 1 if quick else 2]:
        shop = Shop(sizes[-1], sizes[-1], 10 * sizes[-1])
        held_out.append(of_tables(shop, 64, processes, threads))
    for row in (*results['fitted'], *held_out):
        add_prediction(row, constants, here, results['network'])
    results['network_cases'] = network_cases(8 if quick else 32)
    results['plan'] = plan(constants, here, most=32 if quick else 512)
    write(results)


def this_machine(threads: int) -> Machine:
    """Return this machine, with the memory bandwidth that a copy reaches."""
    x, y = torch.empty(2**27), torch.zeros(2**27)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        x.copy_(y)
        times.append(time.perf_counter() - start)
    path = Path('/sys/devices/system/cpu/cpu0/cache/index3/size')
    cache = 1024 * float(path.read_text().strip().rstrip('K')) if path.exists() else 32e6
    total = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    rate = 2 * 4 * x.numel() / min(times)
    return Machine(threads, total, rate, Network(0.0, 0.0), cache, 0.0)


def of_stage(stage: str, shop: Shop, channels: int, threads: int) -> Row:
    """Return a measured row of a stage."""
    repeats = 1 if stage in SLOW and shop.items >= FITTED[-1] else REPEATS
    words = ['--alone', stage, json.dumps([*shop]), str(channels), str(repeats)]
    found = run_alone(str(Path(__file__).parent / '__main__.py'), words, threads)
    batch = {
        'exact_neighbors': min(stages.QUERIES, shop.items),
        'ranking': stages.USERS,
    }.get(stage, stages.BATCH)
    return _show({**_named(stage, shop, channels, batch, 1), **found})


def of_tables(shop: Shop, channels: int, processes: int, threads: int) -> Row:
    """Return a measured row of sharded tables."""
    row = _named('tables', shop, channels, stages.BATCH, processes)
    arguments = {key: row[key] for key in ('channels', 'num_neighbors', 'batch')}
    found = launch('tables', processes, threads, {'shop': [*shop], 'repeats': REPEATS, **arguments})
    return _show({**row, **found})


def _named(stage: str, shop: Shop, channels: int, batch: int, processes: int) -> Row:
    return {
        'stage': stage,
        **shop._asdict(),
        'channels': channels,
        'num_neighbors': stages.NUM_NEIGHBORS,
        'batch': batch,
        'processes': processes,
    }


def _show(row: Row) -> Row:
    numbers = {key: f'{row[key]:.4g}' for key in ('sampling', 'seconds', 'peak') if key in row}
    print(
        f'{row["stage"]:<16}{row["items"]:>12,}{row["channels"]:>5}{row["processes"]:>3}  '
        f'{row.get("failed") or numbers}',
        flush=True,
    )
    return row


def of_network(quick: bool, threads: int) -> Row:
    """Return collectives of processes here: measured, in closed form, and simulated."""
    out: Row = {'loopback': {}, 'rows': []}
    for processes in PROCESSES[: 1 if quick else 2]:
        found = launch('exchange', processes, threads, {'sizes': SIZES[: 2 if quick else 3]})
        if 'failed' in found:
            raise SystemExit(f'the processes failed: {found["failed"]}')
        rows = found.pop('collectives')
        out['loopback'][str(processes)] = found
        network = loopback(found, processes)
        for row in rows:
            collective = Collective(row['kind'], row['size'])
            _, last = simulate_all([collective], processes, network)
            out['rows'].append({'processes': processes, **row, 'simulated': last})
    return out


def loopback(found: Mapping[str, float], processes: int) -> Network:
    """Return the loopback as a network, whose processes share what they send in sum."""
    pair = max(found['pair'], found['all'])
    return Network(pair, found['latency'], switch=found['all'] * processes)


def add_prediction(
    row: Row, constants: Mapping[str, float], here: Machine, network: Mapping[str, Any]
) -> None:
    """Add what the model says of a row."""
    if 'failed' in row:
        return
    for part in ('sampling', 'seconds'):
        if part in row:
            seconds = predicted_seconds(row, part, constants, here.cache)
            # The processes share the threads and the memory of this machine.
            row[f'{part}_predicted'] = seconds * row['processes']
    cost: Cost = held_by_stage(row)
    if row['processes'] > 1:
        found = network['loopback'][str(row['processes'])]
        _, last = simulate_all(
            cost.collectives, row['processes'], loopback(found, row['processes'])
        )
        row['seconds_predicted'] += last
    row['memory_predicted'] = cost.memory
