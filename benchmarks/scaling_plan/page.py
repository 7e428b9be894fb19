"""The page docs/scaling.rst, from the kept results."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.rst import heading, list_table, measured_by, wrapped
from scaling_plan.cost_model import loader_bytes, sharded_shop, sharded_tables
from scaling_plan.machine import EFFICIENCY, GIGABIT_25, GIGABIT_100
from scaling_plan.plan import BATCH, CHANNELS, FEATURES, FILLED, SHOPS, TRAINING

__all__ = ['page']

MADE = '.. Made by benchmarks/scaling_plan from scaling/measured.json; do not edit.'
GB = 1e9
ABOUT = (
    'What would a shop cost that is too large for the machines here? The work, the memory and the '
    'bytes sent are counted for each way of working on it, by what the code does. The seconds of a '
    'unit of work were fitted to measurements at up to {fitted:,} items. The model was then '
    'checked at {held_out:,} items, which it was not fitted to. All figures for larger shops, and '
    "for more machines than one, are the model's: nothing of that size has been run."
)
ABOUT_CHECK = (
    'Predicted and measured on one machine. The constants are fitted to the rows of one process '
    'and at most {fitted:,} items; "held out" means that a row was not used for it. Seconds are '
    'those of a step, of a batch of 2,048 triplets for "sampling" and "sampled step", of 4,096 '
    'items compared with all others for "exact neighbours", and of 2,048 users for "ranking". What '
    'needs more memory or more than some minutes is checked at fewer items, and the '
    'graph of co-interactions is built for a tenth of the users and all items. Several processes '
    'share the threads of the machine. The memory is what a process holds and what a step adds; '
    'with sharded tables it is the peak, with the making of the data.'
)
ABOUT_TRAINING = (
    f'LightGCN with {CHANNELS} channels, two layers and, if not said otherwise, ten neighbours a '
    f'node and hop. On sampled batches each process has {BATCH:,} triplets a step; with "sharded '
    'tables" it holds the graph, with "all sharded", as in the two rows after it, a share of it. '
    'On the whole graph an epoch is 100 steps. Whether such large batches learn as well has not '
    'been measured. '
    'Of a step, the table has what a process computes, what it sends, and how long that takes; '
    'the library does one after the other.'
)
ABOUT_STAGES = (
    f'All at once, not in steps. Item graphs have {FEATURES} channels and ten neighbours.'
)
ABOUT_NETWORK = (
    'A simulation of each message through the network cards and the switch. On an ideal network it '
    'agrees with the closed form. The rows of a step with sharded tables travel in an all-to-all; '
    'popular items are in every batch, so ids in the order of popularity make the first process '
    'answer for most rows. Number items in any other order. Cards share nothing; a switch of a '
    'quarter carries a quarter of what all cards could send.'
)
ABOUT_LOOPBACK = (
    'The simulation beside gloo, with processes of this machine. Bandwidth and latency of the '
    'loopback are measured first: of a pair of processes, and of all at once, which gives the '
    'bandwidth that they share.'
)
ASSUMED = (
    f'A machine has {GIGABIT_100.cores:.0f} cores, {GIGABIT_100.memory / GB:.0f} GB, of which '
    f'{FILLED:.0%} may be filled, a memory bandwidth of '
    f'{GIGABIT_100.memory_bandwidth / GB:.0f} GB/s (60 % of twelve channels in two processors), '
    'and one process. Its network has 100 Gbit/s, of which TCP reaches 80 %, and a latency of '
    f'50 µs. It costs {GIGABIT_100.price} dollars an hour, and with 25 Gbit/s '
    f'{GIGABIT_25.price}: list prices of July 2021 for such machines (r5n.24xlarge and '
    'r5.24xlarge), `by this comparison <https://databasearchitects.blogspot.com/2021/07/>`__.',
    'What waits for memory (reads of rows that no cache holds, and streams) goes with the memory '
    f'bandwidth. All else goes with the number of cores, of which {EFFICIENCY:.0%} count: memory '
    'is far from some of them, and some Python is serial. These two rules are not measured, and '
    'are the least certain part of the seconds.',
    'Users are equally active, and items as popular as their rank to the power of -2/3. Processes '
    'are equally fast, and nothing fails.',
    'The co-interaction graph sends a count for each path from item over user to item, which is '
    'an upper bound.',
    'With more than two billion interactions some arrays have longer numbers, which are counted; '
    'no run here had as many.',
)


def page(content: Mapping[str, Any]) -> str:
    """Return the page of the results."""
    results = content['results']
    sizes = {kind: max(row['items'] for row in results[kind]) for kind in ('fitted', 'held_out')}
    parts = [
        *heading('Shops beyond these machines', '='),
        *wrapped(ABOUT.format(**sizes)),
        *heading('What bounds each way, and where it stops', '-'),
        *_items(_limits()),
        *_first_table(results['plan']),
    ]
    for title, shop in SHOPS.items():
        rows = [row for row in results['plan'] if row['shop'] == title]
        numbers = f'{shop.users:,} users, {shop.items:,} items, {shop.interactions:,} interactions.'
        parts += [
            *heading(f'Training, {title}', '-'),
            *wrapped(f'{numbers} {ABOUT_TRAINING}'),
            *_plan_table([row for row in rows if row['name'] in TRAINING], by_step=True),
            *heading(f'Graphs and lists, {title}', '-'),
            *wrapped(ABOUT_STAGES),
            *_plan_table([row for row in rows if row['name'] not in TRAINING], by_step=False),
        ]
    parts += [
        *heading('What is assumed', '-'),
        *_items(ASSUMED),
        *heading('The model beside measurements', '-'),
        *wrapped(ABOUT_CHECK.format(**sizes)),
        *_check_table(results),
        *heading('The network', '-'),
        *wrapped(ABOUT_NETWORK),
        *_cases_table(results['network_cases']),
        *wrapped(ABOUT_LOOPBACK),
        *wrapped(_loopback(results['network']['loopback'])),
        *_loopback_table(results['network']['rows']),
        *heading('The constants', '-'),
        *wrapped(_here(results['here'])),
        *_constants_table(results['constants']),
    ]
    return '\n'.join([MADE, '', *parts, *measured_by('scaling_plan', content['machine'])])


def _limits() -> list[str]:
    """Return what bounds each way; the figures are those of the model."""
    small, large = SHOPS.values()
    two, one = (sharded_tables(small, CHANNELS, hops, BATCH, 32) for hops in ([10, 10], [10]))
    rows = two.collectives[2].size / 8 / BATCH
    whole = sharded_shop(small, CHANNELS, [10, 10], BATCH, 32)
    more = sum(x.size for x in whole.collectives) / sum(x.size for x in two.collectives)
    fewer = sum(x.size for x in two.collectives) / sum(x.size for x in one.collectives)
    of_edge = [loader_bytes(shop) / shop.interactions for shop in (small, large)]
    return [
        'The whole graph in one process, or in each, stops at the memory of a machine. More '
        "machines don't make it faster: each propagates over the whole graph, for a smaller share "
        'of a batch.',
        'The whole graph in shards has memory for any shop, with enough machines. What it sends in '
        'a step grows with the items and not with the machines: each process passes on all rows of '
        'items, in each layer, forward and backward. So beyond some number of machines the network '
        'bounds it, and an epoch takes no less time. With hundreds it takes more: the sums go to '
        'their owners one after the other, each in as many messages as there are processes.',
        'Sharded tables shrink with the number of machines, and what a process sends in a step '
        'depends on its batch alone. But each process holds the interactions in both directions, '
        f'and the keys for its negatives: {of_edge[0]:.0f} bytes an interaction and its share of '
        f"the users and items, {of_edge[1]:.0f} in the larger shop. That doesn't shrink, and at "
        'ten billion interactions it is more than a machine has. So it is with '
        '``TripletNeighborLoader``.',
        'With ``ShardedTripletLoader`` a process holds its share of the graph, too, and fetches '
        f'neighbours and degrees from the others. A step sends {more:.2f} times as much, and what '
        'a process holds shrinks with the number of machines, but for 16 bytes of each item, from '
        'which negatives are sampled.',
        f'With two layers a batch reads {rows:.0f} rows for each triplet, most of them in the last '
        f'hop. With one layer a step sends {fewer:.0f} times less.',
        'The exact item graph and the lists of all users take items times items and users times '
        'items. At a billion they take longer than training; the graph with a recall of 0.95 does '
        'not. Lists would need an index in shards; :class:`~pyg_mmgef.search.ItemIndex` is of one '
        'process.',
    ]


def _items(texts: Sequence[str]) -> list[str]:
    """Return a list of paragraphs."""
    out: list[str] = []
    for text in texts:
        first, *rest = wrapped(text, 118)[:-1]
        out += [f'- {first}', *(f'  {line}' for line in rest)]
    return [*out, '']


def _first_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which numbers of machines have enough memory, and the bound of the largest."""
    cells = []
    for name in dict.fromkeys(row['name'] for row in rows):
        cell = [name]
        for title in SHOPS:
            own = [row for row in rows if row['name'] == name and row['shop'] == title]
            first = own[0]['first']
            cell.append('none' if first is None else f'{first:,}')
            cell.append(_bound(own[-1]))
        cells.append(cell)
    header = ['way']
    for title in SHOPS:
        header += [f'{title}: machines from', 'bound']
    return list_table(header, cells)


def _bound(row: Mapping[str, Any]) -> str:
    if not row['fits'] and row['first'] is None:
        return 'memory'
    return 'network' if row['network'] > row['compute'] else 'compute'


def _plan_table(rows: Sequence[Mapping[str, Any]], *, by_step: bool) -> list[str]:
    cells = []
    for row in rows:
        cell = [row['name'], f'{row["processes"]}', _number(row['memory'] / GB)]
        if row['fits']:
            cell += [
                _number(row['compute']),
                _number(row['sent'] / GB),
                _number(row['network']),
                _number(row['hours']),
                _number(row['dollars']),
                _number(row['hours_25']),
            ]
        else:
            cell += ['does not fit', *([''] * 5)]
        cells.append(cell)
    whole = 'an epoch' if by_step else 'in all'
    header = ['way', 'machines', 'GB each', 'compute, s', 'sent, GB', 'network, s']
    header += [f'hours {whole}', 'dollars', 'hours with 25 Gbit/s']
    return list_table(header, cells)


TITLE_OF = {
    'propagation': 'propagation, 2 layers',
    'dense_update': 'Adam on all rows',
    'sampled': 'sampled step',
    'tables': 'step, sharded tables',
    'exact_neighbors': 'exact neighbours',
    'cell_neighbors': 'item graph, recall 0.95',
    'co_interaction': 'co-interaction graph',
    'ranking': 'ranking',
}


def _check_table(results: Mapping[str, Any]) -> list[str]:
    cells = []
    for kind in ('fitted', 'held_out'):
        for row in results[kind]:
            if 'failed' in row:
                cells.append([TITLE_OF[row['stage']], _sizes(row), kind, row['failed'], *[''] * 5])
                continue
            memory = row.get('held', 0.0) + row.get('step', row.get('peak', 0.0))
            for part in ('sampling', 'seconds'):
                if part in row:
                    title = TITLE_OF[row['stage']]
                    cells.append(
                        [
                            f'{title}: sampling' if part == 'sampling' else title,
                            _sizes(row),
                            kind.replace('_', ' '),
                            *_compared(row[f'{part}_predicted'], row[part], 1.0),
                            *(
                                _compared(row['memory_predicted'], memory, GB)
                                if part == 'seconds'
                                else [''] * 3
                            ),
                        ]
                    )
    header = ['stage', 'items, channels, processes', 'rows', 'predicted, s', 'measured, s', 'ratio']
    header += ['predicted, GB', 'measured, GB', 'ratio']
    return list_table(header, cells)


def _sizes(row: Mapping[str, Any]) -> str:
    return f'{row["items"]:,}, {row["channels"]}, {row["processes"]}'


def _compared(predicted: float, measured: float, unit: float) -> list[str]:
    ratio = f'{predicted / measured:.2f}' if measured > 0 else ''
    return [_number(predicted / unit), _number(measured / unit), ratio]


def _cases_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [
        [
            row['case'],
            row['kind'],
            f'{row["processes"]}',
            _number(row['size'] / GB),
            _number(1e3 * row['closed']),
            _number(1e3 * row['simulated']),
            f'{row["simulated"] / row["closed"]:.2f}',
        ]
        for row in rows
    ]
    header = ['network', 'what', 'machines', 'GB each', 'closed form, ideal, ms', 'simulated, ms']
    return list_table([*header, 'ratio'], cells)


def _loopback(found: Mapping[str, Mapping[str, float]]) -> str:
    parts = [
        f'{number} processes: {row["pair"] / GB:.2f} GB/s in a pair, {row["all"] / GB:.2f} GB/s of '
        f'each at once, {1e6 * row["latency"]:.0f} µs'
        for number, row in found.items()
    ]
    return f'{"; ".join(parts)}.'


def _loopback_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [
        [
            row['kind'].replace('_', '-'),
            f'{row["processes"]}',
            f'{row["size"] / 2**20:g}',
            *_compared(row['simulated'], row['seconds'], 1e-3),
        ]
        for row in rows
    ]
    return list_table(['what', 'processes', 'MiB', 'simulated, ms', 'measured, ms', 'ratio'], cells)


def _here(here: Mapping[str, Any]) -> str:
    return (
        'Nanoseconds of a unit of work on the machine that was measured, with '
        f'{here["cores"]:.0f} threads, {here["cache"] / 2**20:.0f} MiB of cache and '
        f'{here["memory_bandwidth"] / GB:.0f} GB/s of a copy. Those that end in ``_far`` go with '
        'the memory bandwidth; ``cost_model.py`` says what each counts. A zero means that the '
        'others explain the times.'
    )


def _constants_table(constants: Mapping[str, float]) -> list[str]:
    cells = [[f'``{name}``', _number(1e9 * value)] for name, value in constants.items()]
    return list_table(['unit', 'ns'], cells)


def _number(value: float) -> str:
    """Return three digits, with commas."""
    if value == 0:
        return '0'
    if abs(value) >= 1e9:
        return f'{value:.1e}'
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'
