"""The cost model counts what real objects hold and send; the page is that of its results."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

pytest.importorskip('matplotlib')

from common import read_json
from scaling import random_shop
from scaling_plan import cost_model, network, plan, stages
from scaling_plan.fit import fit_constants, predicted_seconds
from scaling_plan.machine import GIGABIT_100, Machine
from scaling_plan.page import page
from scaling_plan.sampled_batch import expected_batch
from scaling_plan.shares import row_shares
from scaling_plan.shop import Shop

from pyg_mmgef.distributed import InteractionShard, ShardedData, ShardedTripletLoader
from pyg_mmgef.loader import TripletLoader, TripletNeighborLoader
from pyg_mmgef.nn import LightGCN
from pyg_mmgef.nn.parts.interaction_graph import normalized_interactions
from pyg_mmgef.transforms import AddReverseInteractions
from tests.distributed.together import run_together

DOCS = Path(__file__).parents[2] / 'docs'
SHOP = Shop(3000, 2000, 30_000)
IDEAL = network.Network(1e9, 1e-5)
KINDS = ('all_to_all', 'all_reduce', 'ring', 'reduce')


def bytes_of(*tensors: Tensor) -> int:
    """Return the bytes of different storages."""
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}
    return sum(storages.values())


def tensors_of(*objects: object) -> list[Tensor]:
    """Return the tensors among the attributes of objects, and of the objects in these."""
    out = []
    for each in objects:
        for value in vars(each).values():
            out += [value] if isinstance(value, Tensor) else []
    return out


def test_tables_and_their_optimizer_are_counted() -> None:
    model = LightGCN(SHOP.users, SHOP.items, embedding_dim=16)
    optimizer = torch.optim.Adam(model.parameters())
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    tables = list(model.parameters())
    moments = [x for p in tables for x in optimizer.state[p].values() if x.dim() == 2]
    held = bytes_of(*tables, *(p.grad for p in tables if p.grad is not None), *moments)
    assert held == cost_model.table_bytes(SHOP.rows, 16, cost_model.ADAM_COPIES)


def test_the_graph_is_counted() -> None:
    edge_index = random_shop(*SHOP)['user', 'interacts', 'item'].edge_index
    pair = normalized_interactions(edge_index, SHOP[:2], torch.float32)
    assert bytes_of(*pair._parts) == cost_model.pair_bytes(SHOP)


def test_the_loader_is_counted() -> None:
    data = AddReverseInteractions()(random_shop(*SHOP))
    loader = TripletNeighborLoader(data, [5], batch_size=100, shuffle=True)
    own = [x for store in data.stores for x in store.values() if isinstance(x, Tensor)]
    lists = tensors_of(*loader.dataset.sampler._lists.values())
    triplets = [*tensors_of(loader.triplets.dataset._sampler), loader.triplets.dataset._order()]
    found = bytes_of(*own, *lists, *triplets)
    # Repeated interactions count once among the keys, and items without any are no candidates.
    assert found == pytest.approx(cost_model.loader_bytes(SHOP), rel=0.03)
    alone = TripletLoader(data, batch_size=100).dataset
    held = bytes_of(*tensors_of(alone._sampler), alone._order())
    assert held == pytest.approx(cost_model.triplet_bytes(SHOP), rel=0.03)


@pytest.mark.parametrize('hops', [[], [10], [-1], [5, 5], [10, 10]])
def test_a_batch_holds_what_is_expected(hops: list[int]) -> None:
    shop = Shop(20_000, 20_000, 200_000)
    data = AddReverseInteractions()(random_shop(*shop))
    batches = iter(TripletNeighborLoader(data, hops, batch_size=512, shuffle=True))
    expected = expected_batch(shop, 512, hops)
    counts = []
    for _, batch in zip(range(8), batches, strict=False):
        edges = sum(batch[edge_type].num_edges for edge_type in batch.edge_types)
        counts.append([batch['user'].n_id.numel(), batch['item'].n_id.numel(), edges])
    found = np.mean(counts, axis=0)
    assert found == pytest.approx([expected.users, expected.items, expected.edges], rel=0.03)


def send_of_tables() -> list[tuple[list[int], list[int]]]:
    """Return the ids of the rows that are read, and the bytes of each all-to-all of a step."""
    import torch.distributed as dist

    from tests.distributed.shop import build, here, make_shop

    sent: list[int] = []
    plain: Any = dist.all_to_all_single

    def counting(*args: Any, **kwargs: Any) -> Any:
        x = kwargs['input'] if 'input' in kwargs else args[1]
        sent.append(x.numel() * x.element_size())
        return plain(*args, **kwargs)

    data = make_shop()
    sharded = build('LightGCN', data)
    dist.all_to_all_single = counting
    out = []
    try:
        for batch in here(data):
            sent.clear()
            rows = [batch[name].n_id.numel() for name in ('user', 'item')]
            sharded(batch).backward()
            out.append((rows, list(sent)))
    finally:
        dist.all_to_all_single = plain
    return out


@pytest.mark.distributed
def test_a_step_of_sharded_tables_sends_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.distributed.shop import NUM_ITEMS, NUM_USERS

    runs = run_together(send_of_tables, 2)
    assert len(runs[0]) > 3
    for steps in zip(*runs, strict=True):
        rows = sum(sum(own) for own, _ in steps) / 2
        found = cost_model.expected_batch(Shop(NUM_USERS, NUM_ITEMS, 900), 51, [3, 3])
        monkeypatch.setattr(
            cost_model, 'expected_batch', lambda *_, n=rows, x=found: x._replace(users=n, items=0)
        )
        cost = cost_model.sharded_tables(Shop(NUM_USERS, NUM_ITEMS, 900), 16, [3, 3], 51, 2)
        expected = [each.size for each in cost.collectives]
        assert [sum(sizes) / 2 for sizes in zip(*(sent for _, sent in steps), strict=True)] == (
            expected
        )


def send_of_loader() -> list[tuple[list[int], list[int]]]:
    """Return of each batch its seeds, rows and edges, and the bytes of each all-to-all."""
    import torch.distributed as dist

    from pyg_mmgef.distributed import ShardedTripletLoader
    from tests.distributed.sharded_shop import by_user, shard_of
    from tests.distributed.shop import make_shop

    sent: list[int] = []
    plain: Any = dist.all_to_all_single

    def counting(*args: Any, **kwargs: Any) -> Any:
        sent.append(args[1].numel() * args[1].element_size())
        return plain(*args, **kwargs)

    data = by_user(make_shop())
    del data['item', 'similar', 'item'], data['item']['x_text'], data['item']['x']
    loader = ShardedTripletLoader(shard_of(data), [3], 100)
    dist.all_to_all_single = counting
    out = []
    try:
        for batch in loader:
            user, item = batch['user'], batch['item']
            seeds = user.src_index.unique().numel()
            seeds += torch.cat([item.dst_pos_index, item.dst_neg_index]).unique().numel()
            edges = sum(batch[edge_type].num_edges for edge_type in batch.edge_types)
            out.append(([seeds, user.n_id.numel() + item.n_id.numel(), edges], list(sent)))
            sent.clear()
    finally:
        dist.all_to_all_single = plain
    return out


def test_a_batch_of_shards_sends_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, processes = Shop(101, 53, 900), 2
    runs = run_together(send_of_loader, processes)
    assert len(runs[0]) > 3
    plain = cost_model.expected_batch
    for steps in zip(*runs, strict=True):
        seeds, rows, edges = (sum(x) / processes for x in zip(*(n for n, _ in steps), strict=True))

        def counted(*args: Any, s: float = seeds, r: float = rows, e: float = edges) -> Any:
            found = plain(*args)
            return found._replace(users=r if args[2] else s, items=0, edges=e)

        monkeypatch.setattr(cost_model, 'expected_batch', counted)
        cost = cost_model.sharded_shop(shop, 16, [3], 50, processes)
        alone = cost_model.sharded_tables(shop, 16, [3], 50, processes)
        own = cost.collectives[: len(cost.collectives) - len(alone.collectives)]
        expected = sum(each.size for each in own if each.kind == 'all_to_all')
        assert sum(sum(sent) for _, sent in steps) / processes == expected


def test_the_sharded_loader_is_counted() -> None:
    edges = random_shop(*SHOP)['user', 'interacts', 'item'].edge_index
    users = range(SHOP.users)
    shard = ShardedData(InteractionShard(users, SHOP.users, SHOP.items, edges, None))
    loader = ShardedTripletLoader(shard, [5], 100, shuffle=True)
    degrees = [rows['degree'] for rows in shard.rows.values()]
    lists = tensors_of(*shard.lists.values())
    order = torch.arange(edges.size(1))
    found = bytes_of(edges, *degrees, *lists, *tensors_of(loader._negatives), order)
    assert found == pytest.approx(cost_model.sharded_loader_bytes(SHOP, 1), rel=0.03)


def send_of_propagation(num_layers: int) -> dict[str, int]:
    """Return the bytes that are sent around the ring, and those that are reduced."""
    import torch.distributed as dist

    from pyg_mmgef.distributed import ShardedInteractions, _exchange, propagation

    rank, size = dist.get_rank(), dist.get_world_size()
    sent = {'ring': 0, 'reduce': 0}
    modules: Any = (_exchange, dist)
    pass_on, reduce = _exchange._pass_on, dist.reduce

    def ring(rows: Tensor, *args: Any) -> Any:
        sent['ring'] += rows.numel() * rows.element_size()
        return pass_on(rows, *args)

    def counting(x: Tensor, **kwargs: Any) -> Any:
        sent['reduce'] += x.numel() * x.element_size()
        return reduce(x, **kwargs)

    users, items = SHOP.users // size, SHOP.items // size
    edge_index = random_shop(*SHOP)['user', 'interacts', 'item'].edge_index
    own = edge_index[:, edge_index[0] // users == rank] - torch.tensor([[rank * users], [0]])
    graph = ShardedInteractions(own, users, items)
    ends = [torch.randn(n, 8, requires_grad=True) for n in (users, items)]
    modules[0]._pass_on, modules[1].reduce = ring, counting
    try:
        z = propagation.sharded_layer_mean(graph, ends[0], ends[1], num_layers)
        torch.cat(z).sum().backward()
    finally:
        modules[0]._pass_on, modules[1].reduce = pass_on, reduce
    pointers = [block._parts[n] for block in graph.blocks for n in (0, 4)]
    return {**sent, 'pointers': bytes_of(*pointers)}


@pytest.mark.parametrize('size', [2])
def test_propagation_in_shards_sends_what_is_counted(size: int) -> None:
    runs = run_together(send_of_propagation, size, 2)
    cost = cost_model.sharded_whole_graph(SHOP, 8, 2, size)
    for found in runs:
        for kind in ('ring', 'reduce'):
            own = [each for each in cost.collectives if each.kind == kind]
            times = size - 1 if kind == 'ring' else 1
            assert found[kind] == sum(each.size for each in own) * times
        of_ends = 8 * (SHOP.users + SHOP.items)
        assert found['pointers'] == of_ends + 2 * size * 8


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('processes', [1, 2, 5, 8])
def test_the_simulation_agrees_with_the_closed_form(kind: str, processes: int) -> None:
    for size in (8e3, 8e8):
        collective = network.Collective(kind, size)
        mean, last = network.simulate_all([collective], processes, IDEAL)
        expected = network.closed_form(collective, processes, IDEAL)
        # Of reduces, a process begins the next before the owner of the last has gathered all.
        at_least = 0.6 if kind == 'reduce' else 1 - 1e-9
        assert at_least * expected <= last <= expected * (1 + 1e-9)
        assert mean <= last


@pytest.mark.parametrize('kind', KINDS)
def test_the_messages_have_the_bytes_that_are_counted(kind: str) -> None:
    collective, processes = network.Collective(kind, 1e6), 4
    phases = list(network.phases_of(collective, processes))
    sent = sum(size for phase in phases for _, _, size in phase) / processes
    assert sent == pytest.approx(network.sent_bytes(collective, processes))


def test_a_message_passes_an_idle_path_once() -> None:
    ends = network.simulate([[(0, 1, 1e9)]], 3, network.Network(1e9, 0.5, slow=(1, 5e8)))
    # The sender is through before the slow receiver is, and who has nothing to do at once.
    assert ends.tolist() == pytest.approx([1.0, 2.5, 0.0])


def test_two_senders_share_a_receiver_and_a_switch() -> None:
    phase = [(0, 2, 1e9), (1, 2, 1e9)]
    assert network.simulate([phase], 3, IDEAL).max() == pytest.approx(2 + 1e-5)
    apart = [(0, 2, 1e9), (1, 3, 1e9)]
    assert network.simulate([apart], 4, IDEAL).max() == pytest.approx(1 + 1e-5)
    shared = IDEAL._replace(switch=5e8)
    assert network.simulate([apart], 4, shared).max() == pytest.approx(4 + 1e-5)


def test_a_phase_waits_for_the_one_before() -> None:
    phases = [[(0, 1, 1e9)], [(1, 2, 1e9)], [(2, 0, 1e9)]]
    assert network.simulate(phases, 3, IDEAL).max() == pytest.approx(3 + 3e-5)


def test_ids_by_popularity_are_uneven_and_take_longer() -> None:
    shop, processes = Shop(10**6, 10**6, 10**7), 8
    even, uneven = (
        row_shares(shop, 2048, [10], processes, by_popularity=flag) for flag in (False, True)
    )
    for shares in (even, uneven):
        assert shares.sum(axis=1) == pytest.approx(np.ones(processes), abs=0.02)
    assert even.max() < 1.1 / processes
    assert uneven[:, 0].min() > 1.3 / processes
    times = [
        network.simulate_all([network.Collective('all_to_all', 1e9, x)], processes, IDEAL)[1]
        for x in (even, uneven)
    ]
    assert times[1] > 1.2 * times[0]


def test_the_fit_finds_constants_that_made_the_times() -> None:
    known = {'edge_channel': 2e-9, 'edge_channel_far': 5e-9, 'byte_far': 1e-10}
    cache = 1e7
    rows: list[dict[str, Any]] = []
    for stage in ('dense_update', 'propagation'):
        for items, channels in ((10**5, 16), (10**5, 64), (10**6, 16), (10**6, 64), (10**4, 64)):
            row = {'stage': stage, **Shop(items, items, 10 * items)._asdict()}
            row |= {'channels': channels, 'num_neighbors': [1, 1], 'batch': 1}
            row['seconds'] = predicted_seconds(row, 'seconds', known, cache)
            rows.append(row)
    assert fit_constants(rows, cache) == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize('name', plan.NAMES)
def test_costs_grow_with_the_shop_and_shares_shrink(name: str) -> None:
    small, large = Shop(10**6, 10**6, 10**7), Shop(10**7, 10**7, 10**8)
    processes = 1 if name.endswith('one process') else 8
    costs = [plan.cost_of(name, shop, processes) for shop in (small, large)]
    assert costs[0].held < costs[1].held
    assert costs[0].memory < costs[1].memory
    for unit, amount in costs[0].work.items():
        assert amount >= 0
        assert amount * costs[0].steps <= costs[1].work[unit] * costs[1].steps
    if processes > 1:
        more = plan.cost_of(name, large, 4 * processes)
        assert more.memory <= costs[1].memory
        assert more.steps * sum(more.work.values()) <= costs[1].steps * sum(costs[1].work.values())


def test_large_machines_are_faster_by_cores_and_by_memory() -> None:
    here = Machine(2, 1e9, 15e9, network.Network(0, 0), 1e7, 0)
    constants = {'pair': 1.0, 'byte_far': 1.0}
    seconds = [
        cost_model.compute_seconds({name: 1.0}, constants, here, GIGABIT_100) for name in constants
    ]
    assert seconds == pytest.approx([2 / (48 * 0.6), 0.1])


@pytest.mark.parametrize('stage', ['propagation', 'sampled', 'co_interaction', 'ranking'])
def test_stages_run(stage: str) -> None:
    shop = Shop(3000, 3000, 30_000)
    run = stages.STAGES[stage](shop, 8)
    found = run()
    work = cost_model.work_of_stage(stage, shop, 8, stages.NUM_NEIGHBORS, stages.BATCH, 1e6)
    assert found.keys() == work.keys()
    assert all(seconds > 0 for seconds in found.values())


def test_the_page_is_what_the_kept_results_say() -> None:
    content = read_json(DOCS / 'scaling' / 'measured.json')
    text = (DOCS / 'scaling.rst').read_text(encoding='utf-8')
    assert page(content) == text
    assert text.count('.. list-table::') == 9


def test_the_kept_plan_is_that_of_the_kept_constants() -> None:
    results = read_json(DOCS / 'scaling' / 'measured.json')['results']
    here = Machine(**results['here'], network=network.Network(0, 0), price=0)
    kept = [row for row in results['plan'] if row['processes'] <= 8]
    for row, expected in zip(kept, plan.plan(results['constants'], here, most=8), strict=True):
        assert row == pytest.approx(expected)


def test_the_kept_plan_bears_out_what_the_page_says() -> None:
    rows = read_json(DOCS / 'scaling' / 'measured.json')['results']['plan']
    small, large = plan.SHOPS

    def of(shop: str, name: str, processes: int) -> dict[str, Any]:
        (row,) = (
            row
            for row in rows
            if (row['shop'], row['name'], row['processes']) == (shop, name, processes)
        )
        return row

    for name in ('sampled, sharded tables', 'whole graph, replicated', 'whole graph, one process'):
        assert {row['first'] for row in rows if (row['shop'], row['name']) == (large, name)} == {
            None
        }
    assert of(large, 'sampled, all sharded', 128)['fits']
    shards = {n: of(small, 'whole graph, sharded', n) for n in plan.MACHINES}
    assert shards[128]['network'] > shards[128]['compute']
    assert shards[512]['hours'] > min(row['hours'] for row in shards.values())
    training = of(large, 'whole graph, sharded', 512)['hours']
    assert of(large, 'item graph, recall 0.95', 512)['hours'] < training
    assert of(large, 'item graph, exact', 512)['hours'] > training
    assert of(large, 'best 20 of all users', 512)['hours'] > training
