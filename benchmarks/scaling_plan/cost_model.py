r"""What each way of working on a large shop costs a process: bytes held, work, bytes sent.

Work is counted in units, such as channels of edges that are read; the constants, seconds of one
unit each, are fitted to what was measured (``fit.py``). All else is counted, not fitted. Symbols in
the comments: U users, I items, N = U + I, E interactions, D channels, L layers, P processes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scaling_plan.machine import EFFICIENCY, Machine
from scaling_plan.network import Collective, closed_form
from scaling_plan.sampled_batch import SampledBatch, expected_batch
from scaling_plan.shop import Shop

__all__ = [
    'Cost',
    'cell_graph',
    'co_interaction_graph',
    'compute_seconds',
    'exact_graph',
    'loader_bytes',
    'network_seconds',
    'pair_bytes',
    'replicated_whole_graph',
    'sampled',
    'sharded_loader_bytes',
    'sharded_shop',
    'sharded_tables',
    'sharded_whole_graph',
    'table_bytes',
    'top_lists',
    'triplet_bytes',
    'whole_graph',
    'work_of_stage',
]

Work = dict[str, float]
FLOAT, LONG = 4, 8
ADAM_COPIES = 4
"""A table, its gradient and the two moments of Adam."""
STEP_COPIES = 4
"""Copies of both tables that propagation holds beside these at its peak."""
BATCH_COPIES = 8
"""Copies of the rows of a sampled batch that a step holds at its peak."""
NO_CACHE = 0.0
"""Of the tables and graphs of a large shop, a cache holds next to nothing."""
PROBES = 12
"""Cells that a query probes, about what a recall of 0.95 takes."""
PROJECTED = 254
"""Channels that cells and items are compared by, at most."""
PROBED_OWNERS = 3
"""Processes that own these cells; similar cells lie next to each other."""
CELL = 384
RING_PIECE, RANKING_PIECE = 2**15, 2**16
BLOCK = 2**30
"""``max_memory`` of the co-interaction graph."""


class Cost(NamedTuple):
    """What a process needs for a step, or for all where there are no steps."""

    held: float
    """Bytes held between steps: data, tables, optimiser."""
    step: float
    """Bytes that a step adds at its peak."""
    work: Work
    """Units of work by name."""
    collectives: tuple[Collective, ...] = ()
    """What the processes exchange."""
    steps: float = 1.0
    """Steps of an epoch."""

    @property
    def memory(self) -> float:
        """Bytes at the peak, beside the program."""
        return self.held + self.step


def compute_seconds(
    work: Mapping[str, float], constants: Mapping[str, float], here: Machine, there: Machine
) -> float:
    """Return the seconds of some work on a machine, given the constants of another.

    What reads rows that are in no cache, or streams over memory, goes with the memory bandwidth
    (constants that end in ``_far``); all else with the number of cores, less ``EFFICIENCY`` on a
    machine with more.
    """
    cores = there.cores / here.cores
    cores *= EFFICIENCY if cores > 1 else 1.0
    streams = there.memory_bandwidth / here.memory_bandwidth
    return sum(
        amount * constants[name] / (streams if name.endswith('_far') else cores)
        for name, amount in work.items()
    )


def network_seconds(cost: Cost, processes: int, there: Machine) -> float:
    """Return the seconds of what the processes exchange, of even sizes, one after the other."""
    return sum(closed_form(each, processes, there.network) for each in cost.collectives)


def table_bytes(rows: float, channels: int, copies: int = 1) -> float:
    """Return the bytes of a table of float32, or of some of its size."""
    return copies * FLOAT * rows * channels


def pair_bytes(shop: Shop) -> float:
    """Return the bytes of the normalised graph in both orders (CSRPair).

    Each order has an int64 pointer of each row, and of each edge an int64 column, an int64 position
    and a float32 weight.
    """
    return 2 * shop.interactions * (2 * LONG + FLOAT) + LONG * (shop.rows + 2)


def triplet_bytes(shop: Shop) -> float:
    """Return the bytes of ``TripletLoader``: keys of known pairs, their weights, and the order.

    Also where the items of a user begin, and how many negatives are left; the candidates, and the
    weights before them.
    """
    return LONG * (3 * shop.interactions + 2 * shop.users + 2 * shop.items)


def loader_bytes(shop: Shop) -> float:
    """Return the bytes of ``TripletNeighborLoader`` and of the data that it reads.

    The data has the interactions in both directions and the degrees. The lists of each direction
    have the pointer, and of each edge a neighbour and its position, int32 where they fit.
    """
    data = 2 * 2 * LONG * shop.interactions + LONG * shop.rows
    position = FLOAT if shop.interactions < 2**31 else LONG
    lists = 2 * shop.interactions * (FLOAT + position) + LONG * shop.rows
    return data + lists + triplet_bytes(shop)


def sharded_loader_bytes(shop: Shop, processes: int) -> float:
    """Return the bytes of ``ShardedData`` and ``ShardedTripletLoader`` in a process.

    Of its users and items it has the interactions, the lists of both directions, the degrees and
    what ``TripletLoader`` has; of all items, which may be negatives and the weights before them.
    """
    share = Shop(*(-(-count // processes) for count in shop))
    interactions = 2 * LONG * share.interactions
    source = FLOAT if shop.rows < 2**31 else LONG
    lists = 2 * source * share.interactions + 2 * LONG * share.rows
    return interactions + lists + triplet_bytes(share._replace(items=shop.items))


def whole_graph(shop: Shop, channels: int, layers: int, steps: int = 100) -> Cost:
    """One process propagates over the whole graph in each step, with Adam on all rows."""
    data = 2 * LONG * shop.interactions
    return Cost(
        data + pair_bytes(shop) + triplet_bytes(shop) + table_bytes(shop.rows, channels, 4),
        table_bytes(shop.rows, channels, STEP_COPIES),
        _added(_propagation(shop, channels, layers, NO_CACHE), _update(shop, channels)),
        steps=steps,
    )


def replicated_whole_graph(
    shop: Shop, channels: int, layers: int, processes: int, steps: int = 100
) -> Cost:
    """All processes propagate over the whole graph for their share of a batch (DDP).

    Of all parameters the gradients are dense, and added in an all-reduce.
    """
    cost = whole_graph(shop, channels, layers, steps)
    gradient = table_bytes(shop.rows, channels)
    return cost._replace(
        held=cost.held + gradient,  # The buckets of DDP.
        collectives=(Collective('all_reduce', gradient),) if processes > 1 else (),
    )


def sharded_whole_graph(
    shop: Shop, channels: int, layers: int, processes: int, steps: int = 100
) -> Cost:
    """Each process has its users and items, and items travel (``sharded_layer_mean``).

    Forward and backward of a layer send the items of each process around a ring, and the sums of
    all items to their owners. A process's blocks have a pointer for each of all users and items.
    """
    share = Shop(*(-(-count // processes) for count in shop))
    items = table_bytes(share.items, channels)
    times = 2 * layers
    ring, reduce = (
        Collective('ring', items),
        Collective('reduce', table_bytes(shop.items, channels)),
    )
    of_edges = share.interactions * (2 * LONG + 2 * (2 * LONG + FLOAT) + 3 * LONG)
    return Cost(
        of_edges
        + LONG * (shop.users + 2 * shop.items)
        + table_bytes(share.rows, channels, ADAM_COPIES),
        table_bytes(share.rows, channels, STEP_COPIES) + 3 * items,
        _added(_propagation(share, channels, layers, NO_CACHE), _update(share, channels)),
        (ring, reduce) * times if processes > 1 else (),
        steps,
    )


def sampled(shop: Shop, channels: int, num_neighbors: Sequence[int], batch: int) -> Cost:
    """One process takes steps on sampled subgraphs, with sparse gradients and SparseAdam."""
    found = expected_batch(shop, batch, num_neighbors)
    return Cost(
        loader_bytes(shop) + table_bytes(shop.rows, channels, 3),
        table_bytes(found.rows, channels, BATCH_COPIES),
        _sampling(shop, found.edges, NO_CACHE)
        | _batch_step(shop, channels, num_neighbors, found, NO_CACHE),
        steps=shop.interactions / batch,
    )


def sharded_tables(
    shop: Shop,
    channels: int,
    num_neighbors: Sequence[int],
    batch: int,
    processes: int,
    dense_bytes: float = 0.0,
) -> Cost:
    """Tables are sharded by rows, with row-wise Adagrad (``ShardedModel``); graphs are not.

    A step sends the ids of the rows that its batch reads, the rows back, and their gradients;
    before these, three int64 numbers and two int64 counts to each process. The gradients of dense
    parameters are added in an all-reduce.

    Args:
        shop: The sizes.
        channels: Channels of the tables.
        num_neighbors: Neighbours of a node in each hop.
        batch: Triplets of a process in a step.
        processes: Number of processes.
        dense_bytes: Bytes of all other parameters. (default: ``0.0``)
    """
    found = expected_batch(shop, batch, num_neighbors)
    rows = sum(-(-count // processes) for count in (shop.users, shop.items))
    exchanged: tuple[Collective, ...] = (
        Collective('all_to_all', 3 * LONG * processes),
        Collective('all_to_all', 2 * LONG * processes),
        Collective('all_to_all', LONG * found.rows),
        Collective('all_to_all', table_bytes(found.rows, channels)),
        Collective('all_to_all', table_bytes(found.rows, channels)),
    )
    if dense_bytes:
        exchanged += (Collective('all_reduce', dense_bytes),)
    step = _table_step(shop, channels, num_neighbors, found, NO_CACHE)
    return Cost(
        loader_bytes(shop) + table_bytes(rows, channels) + FLOAT * rows + 4 * dense_bytes,
        table_bytes(found.rows, channels, BATCH_COPIES),
        _sampling(shop, found.edges, NO_CACHE) | step,
        exchanged if processes > 1 else (),
        shop.interactions / (batch * processes),
    )


def sharded_shop(
    shop: Shop,
    channels: int,
    num_neighbors: Sequence[int],
    batch: int,
    processes: int,
) -> Cost:
    """Tables and graph are sharded: neighbours and degrees travel, too (``ShardedTripletLoader``).

    Beside what :func:`sharded_tables` sends, of each node that is expanded the id and a key, and
    back the number of its neighbours; of each of these the id and that of the edge. Of each row of
    the batch the id, and back its degree. Sorting what travels isn't in the work.

    Args:
        shop: The sizes.
        channels: Channels of the tables.
        num_neighbors: Neighbours of a node in each hop.
        batch: Triplets of a process in a step.
        processes: Number of processes.
    """
    tables = sharded_tables(shop, channels, num_neighbors, batch, processes)
    found = expected_batch(shop, batch, num_neighbors)
    expanded = expected_batch(shop, batch, num_neighbors[:-1]).rows if num_neighbors else 0.0
    sizes = [LONG * expanded] * 3 + [LONG * found.edges] * 2 + [LONG * found.rows] * 2
    # Three exchanges for each hop and direction, two for the rows of users and of items.
    counts = [LONG * processes] * (6 * len(num_neighbors) + 4)
    exchanged = tuple(Collective('all_to_all', size) for size in sizes + counts if size)
    # Before each of the others the processes agree on how many rounds it takes.
    exchanged += (Collective('all_reduce', LONG),) * (10 * len(num_neighbors) + 4)
    return tables._replace(
        held=tables.held - loader_bytes(shop) + sharded_loader_bytes(shop, processes),
        collectives=(*exchanged, *tables.collectives) if processes > 1 else (),
    )


def exact_graph(shop: Shop, channels: int, k: int, processes: int) -> Cost:
    """Each item is compared with all others, whose features travel in a ring."""
    own = -(-shop.items // processes)
    pairs = own * (shop.items - own) + own * own / 2  # A product serves both of its own rows.
    return Cost(
        table_bytes(own, channels),
        table_bytes(own, channels, 2)  # Scaled, and rounded, while they are compared.
        + own * k * (FLOAT + LONG + 1)
        + 2 * table_bytes(min(own, RING_PIECE), channels),
        {'pair_channel': pairs * channels, 'pair': pairs},
        (Collective('ring', table_bytes(own, channels)),) if processes > 1 else (),
    )


def cell_graph(shop: Shop, channels: int, k: int, processes: int) -> Cost:
    """Items move to the owners of their cells, and queries to those of the cells they probe."""
    own, cells = -(-shop.items // processes), _cells(shop.items)
    owners = min(processes, PROBED_OWNERS)
    query = FLOAT * channels + LONG + LONG * PROBES
    answer = k * (FLOAT + LONG + 1)
    clustering = 150 * cells * cells  # 30 points a cell, five rounds, in the first process.
    compared = min(channels, PROJECTED)
    return Cost(
        table_bytes(own, channels),
        table_bytes(own, channels, 4)  # Moved, on the way, scaled, and rounded.
        + table_bytes(cells, channels) * 1.5
        + own * k * (FLOAT + LONG + 1),
        {
            'cell_pair_channel': compared
            * (2 * own * cells + clustering + PROBES * own * shop.items / cells),
            'cell_row_far': own * channels,
        },
        (
            Collective('all_to_all', own * (FLOAT * channels + LONG)),
            Collective('all_to_all', own * owners * query),
            Collective('all_to_all', own * owners * answer),
        )
        if processes > 1
        else (),
    )


def co_interaction_graph(shop: Shop, k: int, processes: int) -> Cost:
    """Pairs of items of the same user are counted, and added by the owner of an item.

    A path leads from an item over a user to an item. As a bound, all counts are sent: an int32 item
    and a float64 number for each path, which would be fewer where paths meet.
    """
    paths = _paths(shop) / processes
    edges, own = shop.interactions / processes, -(-shop.items // processes)
    return Cost(
        edges * (2 * LONG + 3 * (LONG + FLOAT)) + 5 * LONG * shop.items,
        BLOCK + own * k * (2 * LONG + FLOAT),
        _counting(shop, processes),
        (Collective('all_to_all', paths * (FLOAT + LONG)),) if processes > 1 else (),
    )


def top_lists(shop: Shop, channels: int, k: int, processes: int) -> Cost:
    """All items are ranked for all users, and the best are written; items travel in a ring."""
    users, own = -(-shop.users // processes), -(-shop.items // processes)
    return Cost(
        table_bytes(users + own, channels) + 3 * LONG * shop.interactions / processes,
        users * k * (FLOAT + LONG) * 2
        + 2 * table_bytes(min(own, RANKING_PIECE), channels)
        + LONG * shop.items,
        {'score_channel': users * shop.items * channels, 'score': users * shop.items},
        (Collective('ring', table_bytes(own, channels)),) if processes > 1 else (),
    )


def work_of_stage(
    stage: str, shop: Shop, channels: int, num_neighbors: Sequence[int], batch: int, cache: float
) -> dict[str, Work]:
    """Return the work of a stage that is measured (``stages.py``), by the time it counts for."""
    if stage == 'propagation':
        return {'seconds': _propagation(shop, channels, len(num_neighbors), cache)}
    if stage == 'dense_update':
        return {'seconds': _update(shop, channels)}
    if stage in ('sampled', 'tables'):
        found = expected_batch(shop, batch, num_neighbors)
        of_step = _table_step if stage == 'tables' else _batch_step
        step = of_step(shop, channels, num_neighbors, found, cache)
        return {'sampling': _sampling(shop, found.edges, cache), 'seconds': step}
    if stage == 'exact_neighbors':
        pairs = float(batch * shop.items)
        return {'seconds': {'pair_channel': pairs * channels, 'pair': pairs}}
    if stage == 'cell_neighbors':
        return {'seconds': cell_graph(shop, channels, 10, 1).work}
    if stage == 'co_interaction':
        return {'seconds': _counting(shop, 1)}
    return {
        'seconds': {'score_channel': batch * shop.items * channels, 'score': batch * shop.items}
    }


def _propagation(shop: Shop, channels: int, layers: int, cache: float) -> Work:
    # Forward and backward, from users to items and back.
    reads = 4.0 * layers * shop.interactions * channels
    far = reads * _missing(table_bytes(shop.rows / 2, channels), cache)
    return {
        'edge_channel': reads - far,
        'edge_channel_far': far,
        # A sum reads two rows and writes one.
        'byte_far': 3.0 * FLOAT * 4 * layers * shop.rows * channels,
    }


def _update(shop: Shop, channels: int) -> Work:
    # Adam reads row, gradient and moments, and writes all but the gradient.
    return {'byte_far': 7.0 * FLOAT * shop.rows * channels}


def _added(*works: Work) -> Work:
    return {name: sum(w.get(name, 0.0) for w in works) for work in works for name in work}


def _sampling(shop: Shop, edges: float, cache: float) -> Work:
    # Of an edge, the lists of both directions have 16 bytes.
    far = edges * _missing(4 * FLOAT * shop.interactions, cache)
    return {'sampled_edge': edges, 'sampled_edge_far': far}


def _batch_step(
    shop: Shop, channels: int, num_neighbors: Sequence[int], found: SampledBatch, cache: float
) -> Work:
    read = found.rows * channels
    far = read * _missing(table_bytes(shop.rows, channels), cache)
    return {
        'batch_row': found.rows,
        'batch_channel': read - far,
        'batch_channel_far': far,
        # Its edges have both directions; each layer, forward and backward.
        'edge_channel': 2.0 * len(num_neighbors) * found.edges * channels,
    }


def _table_step(
    shop: Shop, channels: int, num_neighbors: Sequence[int], found: SampledBatch, cache: float
) -> Work:
    work = _batch_step(shop, channels, num_neighbors, found, cache)
    work['table_row'] = work.pop('batch_row')
    return work


def _missing(size: float, cache: float) -> float:
    """Return the share of reads in no order that a cache can't answer."""
    return max(0.0, 1 - cache / size)


def _cells(items: int) -> int:
    return max(1, items // max(CELL, int(items**0.5 / 2)))


def _counting(shop: Shop, processes: int) -> Work:
    # Each process goes through all items, for its own users.
    return {'path': _paths(shop) / processes, 'counted_item': float(shop.items)}


def _paths(shop: Shop) -> float:
    """Return the paths item, user, item; users are equally active, by a Poisson distribution."""
    active = shop.interactions / shop.users
    return shop.users * active * (active + 1)
