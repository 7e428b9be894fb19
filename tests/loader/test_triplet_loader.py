import copy
import io
import pickle
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch_geometric.data import HeteroData
from torch_geometric.transforms import RandomLinkSplit

from pyg_mmgef.loader import TripletLoader, _triplet_batches
from pyg_mmgef.nn import BPRLoss
from tests.references import drawn_negative


def shop(pairs: Tensor, num_users: int, num_items: int, label: Tensor | None = None) -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes = num_users
    data['item'].num_nodes = num_items
    data['user', 'interacts', 'item'].edge_index = pairs
    if label is not None:
        data['user', 'interacts', 'item'].edge_label_index = label
    return data


def random_pairs(
    num_users: int = 20, num_items: int = 12, density: float = 0.4, seed: int = 0
) -> Tensor:
    """User 0 has no interaction, user 1 all but one."""
    generator = torch.Generator().manual_seed(seed)
    owned = torch.rand(num_users, num_items, generator=generator) < density
    owned[:, 7 % num_items] &= owned.sum(1) < num_items  # No user owns everything.
    owned[0] = False
    owned[1] = True
    owned[1, num_items // 2] = False
    pairs = owned.nonzero().t()
    return pairs[:, torch.randperm(pairs.size(1), generator=generator)]


def epoch(loader: Iterable[Any]) -> tuple[Tensor, Tensor, Tensor]:
    users, items, negatives = zip(*loader, strict=True)
    return torch.cat(users), torch.cat(items), torch.cat(negatives)


def as_set(pairs: Tensor) -> set[tuple[int, int]]:
    return set(map(tuple, pairs.t().tolist()))


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('batch_size', [1, 7, 2048])
def test_every_interaction_once_per_epoch(shuffle: bool, batch_size: int) -> None:
    pairs = random_pairs()
    loader = TripletLoader(shop(pairs, 20, 12), batch_size, shuffle=shuffle)
    batches = list(loader)
    assert len(batches) == len(loader) == -(-pairs.size(1) // batch_size)
    assert all(users.numel() == batch_size for users, _, _ in batches[:-1])
    for _ in range(2):
        users, items, negatives = epoch(loader)
        assert users.shape == items.shape == negatives.shape == (pairs.size(1),)
        assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == sorted(as_set(pairs))


def test_negatives_of_random_link_split_are_no_positives() -> None:
    """By default it puts as many sampled negatives into the supervision edges, labelled zero."""
    pairs = random_pairs(30, 25)
    split = RandomLinkSplit(0.1, 0.1, edge_types=[('user', 'interacts', 'item')])
    train, _, _ = split(shop(pairs, 30, 25))
    edges = train['user', 'interacts', 'item']
    is_positive = edges.edge_label > 0
    assert int(is_positive.sum()) == int((~is_positive).sum())
    loader = TripletLoader(train, 64, num_negatives=40, negatives_from='all')
    users, items, negatives = epoch(loader)
    assert torch.equal(torch.stack([users, items]), edges.edge_label_index[:, is_positive])
    sampled = torch.stack([users[:, None].expand_as(negatives), negatives]).flatten(1)
    # An item that the split sampled as a negative may be a negative here, too.
    assert as_set(sampled) & as_set(edges.edge_label_index[:, ~is_positive])
    assert not as_set(sampled) & as_set(edges.edge_index)


def test_order_without_and_with_shuffle() -> None:
    pairs = random_pairs()
    users, items, _ = epoch(TripletLoader(shop(pairs, 20, 12), 7))
    assert torch.equal(torch.stack([users, items]), pairs)
    loader = TripletLoader(shop(pairs, 20, 12), 7, shuffle=True)
    first, second = (torch.stack(epoch(loader)[:2]) for _ in range(2))
    assert not torch.equal(first, pairs)
    assert not torch.equal(first, second)


def test_a_repeated_interaction_appears_as_often_as_it_is_in_the_data() -> None:
    pairs = torch.tensor([[0, 0, 1], [2, 2, 1]])
    users, items, negatives = epoch(TripletLoader(shop(pairs, 2, 3), 2))
    assert torch.equal(torch.stack([users, items]), pairs)
    assert all(
        (user, item) not in as_set(pairs)
        for user, item in zip(users.tolist(), negatives.tolist(), strict=True)
    )


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('num_negatives', [1, 3])
@pytest.mark.parametrize('negatives_from', ['warm', 'all'])
@pytest.mark.parametrize('popularity', [0.0, 0.75])
def test_negatives_are_never_positives(
    seed: int, num_negatives: int, negatives_from: str, popularity: float
) -> None:
    pairs = random_pairs(density=[0.1, 0.5, 0.8, 0.95, 0.99][seed], seed=seed)
    loader = TripletLoader(
        shop(pairs, 20, 12),
        16,
        shuffle=True,
        num_negatives=num_negatives,
        negatives_from=negatives_from,
        popularity=popularity,
    )
    known = as_set(pairs)
    for _ in range(10):
        users, _, negatives = epoch(loader)
        assert negatives.shape == ((users.numel(), 3) if num_negatives == 3 else (users.numel(),))
        assert int(negatives.min()) >= 0
        assert int(negatives.max()) < 12
        for user, row in zip(users.tolist(), negatives.view(users.numel(), -1), strict=True):
            assert not {(user, item) for item in row.tolist()} & known


@pytest.mark.parametrize('shuffle', [False, True])
def test_users_drawn_uniformly(shuffle: bool) -> None:
    # User 0 has nothing, user 1 eight items, users 2 and 4 one, user 3 two; in no order.
    pairs = torch.tensor(
        [[1, 3, 1, 1, 2, 1, 1, 4, 1, 1, 3, 1], [0, 8, 2, 4, 5, 1, 3, 5, 6, 7, 5, 5]]
    )
    data = shop(pairs, 5, 10)
    generator = torch.Generator().manual_seed(0)
    loader = TripletLoader(data, 5, shuffle=shuffle, uniform_users=True, generator=generator)
    counts = torch.zeros(5, 10)
    num_epochs = 2_000
    for _ in range(num_epochs):
        batches = list(loader)
        assert [users.numel() for users, _, _ in batches] == [5, 5, 2]
        users, items, negatives = map(torch.cat, zip(*batches, strict=True))
        counts.index_put_((users, items), torch.ones(users.numel()), accumulate=True)
        assert not as_set(torch.stack([users, negatives])) & as_set(pairs)
    share = counts / (12 * num_epochs)
    owned = torch.zeros(5, 10).index_put_((pairs[0], pairs[1]), torch.ones(12))
    expected = owned / owned.sum(dim=1, keepdim=True).clamp(min=1) / 4
    error = (expected * (1 - expected) / (12 * num_epochs)).sqrt()
    assert bool(((share - expected).abs() <= 4.5 * error).all())


def test_user_with_all_but_one_item() -> None:
    for missing in range(6):
        items = torch.tensor([item for item in range(6) if item != missing])
        data = shop(torch.stack([torch.ones_like(items), items]), 3, 6)
        loader = TripletLoader(data, 2, negatives_from='all')
        assert epoch(loader)[2].tolist() == [missing] * 5
        # The same, with the missing item made warm by another user.
        edges = data['user', 'interacts', 'item'].edge_index
        data['user', 'interacts', 'item'].edge_index = torch.cat(
            [edges, torch.tensor([[2], [missing]])], dim=1
        )
        users, _, negatives = epoch(TripletLoader(data, 2))
        assert negatives[users == 1].tolist() == [missing] * 5


@pytest.mark.parametrize('negatives_from', ['warm', 'all'])
def test_uniform_over_what_the_user_does_not_have(negatives_from: str) -> None:
    num_items, cold = 20, [0, 8, 9, 19]
    pairs = random_pairs(6, num_items, 0.5, seed=3)
    pairs = pairs[:, ~torch.isin(pairs[1], torch.tensor(cold))]
    loader = TripletLoader(
        shop(pairs, 6, num_items),
        negatives_from=negatives_from,
        generator=torch.Generator().manual_seed(0),
    )
    num_draws = 20_000
    for user in (0, 2, 3, 4, 5):
        free = torch.ones(num_items, dtype=torch.bool)
        free[pairs[1, pairs[0] == user]] = False
        if negatives_from == 'warm':
            free[cold] = False
        negatives = loader.sample_negatives(torch.full((num_draws,), user))
        count = torch.bincount(negatives, minlength=num_items).double()
        assert int(count[~free].sum()) == 0
        expected = num_draws / int(free.sum())
        # Chi-square: its mean is the degrees of freedom, its variance twice that.
        degrees = int(free.sum()) - 1
        statistic = float(((count[free] - expected) ** 2 / expected).sum())
        assert statistic <= degrees + 5 * (2 * degrees) ** 0.5


@pytest.mark.parametrize('popularity', [0.0, 0.5, 0.75, 3.0])
@pytest.mark.parametrize('negatives_from', ['warm', 'all'])
def test_equals_the_reference(negatives_from: str, popularity: float) -> None:
    num_items, num_draws, cold = 15, 50, [0, 3, 14]
    pairs = random_pairs(8, num_items, 0.5, seed=2)
    pairs = pairs[:, ~torch.isin(pairs[1], torch.tensor(cold))]
    loader = TripletLoader(
        shop(pairs, 8, num_items),
        num_negatives=num_draws,
        negatives_from=negatives_from,
        popularity=popularity,
    )
    degree = torch.bincount(pairs[1], minlength=num_items).tolist()
    weight = [float(d > 0 or negatives_from == 'all') * d**popularity for d in degree]
    numbers = torch.rand(
        8, num_draws, generator=torch.Generator().manual_seed(0), dtype=torch.double
    )
    expected = [
        [drawn_negative(number, weight, set(pairs[1, pairs[0] == user].tolist())) for number in row]
        for user, row in enumerate(numbers.tolist())
    ]
    assert loader.sample_negatives(torch.arange(8)).tolist() == expected


@pytest.mark.parametrize('popularity', [0.4, 0.75, 2.0])
def test_in_proportion_to_a_power_of_the_degree(popularity: float) -> None:
    num_items, num_draws = 20, 40_000
    generator = torch.Generator().manual_seed(0)
    share = torch.linspace(0.05, 0.9, num_items)
    owned = torch.rand(60, num_items, generator=generator) < share
    owned[0] = False
    owned[1, 12:] = True  # The popular ones.
    pairs = owned.nonzero().t()
    loader = TripletLoader(shop(pairs, 60, num_items), popularity=popularity)
    weight = owned.sum(0).double() ** popularity
    for user in range(0, 60, 7):
        free = ~owned[user] & (weight > 0)
        negatives = loader.sample_negatives(torch.full((num_draws,), user))
        count = torch.bincount(negatives, minlength=num_items).double()
        assert int(count[~free].sum()) == 0
        expected = num_draws * weight[free] / weight[free].sum()
        degrees = int(free.sum()) - 1
        statistic = float(((count[free] - expected) ** 2 / expected).sum())
        assert statistic <= degrees + 5 * (2 * degrees) ** 0.5


@pytest.mark.parametrize('popularity', [0.75, 6.0, 500.0])
def test_what_is_left_may_be_very_unpopular(popularity: float) -> None:
    num_users, num_items = 400, 50
    # Item i is owned by the users from i * 8 on, so user 399 has all but the item left for them.
    everything = torch.arange(num_users)[:, None] >= 8 * torch.arange(num_items)
    for missing in (0, 25, 49):
        owned = everything.clone()
        owned[392:399, 10] = False
        owned[399, missing] = False
        owned[0] = False
        owned[0, 49] = True  # No item is cold.
        loader = TripletLoader(
            shop(owned.nonzero().t(), num_users, num_items), popularity=popularity
        )
        negatives = loader.sample_negatives(torch.full((1000,), 399))
        assert negatives.unique().tolist() == [missing]
        users = torch.arange(num_users).repeat(20)
        assert not bool(owned[users, loader.sample_negatives(users)].any())


def test_popularity_never_draws_a_cold_item() -> None:
    pairs = torch.tensor([[0, 1, 2], [1, 3, 3]])
    loader = TripletLoader(shop(pairs, 3, 5), negatives_from='all', popularity=1.0)
    assert loader.sample_negatives(torch.tensor([0, 1, 2] * 50)).tolist() == [3, 1, 1] * 50


def test_a_number_just_below_one_stays_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = random_pairs()
    for popularity in (0.0, 0.75):
        loader = TripletLoader(shop(pairs, 20, 12), popularity=popularity)
        for number in (0.0, 1 - 2**-53):
            monkeypatch.setattr(
                loader.dataset,
                '_random',
                lambda n, number=number: torch.full((n, 1), number).double(),
            )
            users, _, negatives = epoch(loader)
            assert not as_set(torch.stack([users, negatives])) & as_set(pairs)


def test_negatives_of_one_triplet_are_drawn_independently() -> None:
    loader = TripletLoader(shop(random_pairs(), 20, 12), num_negatives=4)
    negatives = loader.sample_negatives(torch.zeros(50, dtype=torch.long))
    assert negatives.shape == (50, 4)
    assert any(len(set(row)) > 1 for row in negatives.tolist())
    assert loader.sample_negatives(torch.empty(0, dtype=torch.long)).shape == (0, 4)


def test_no_negatives() -> None:
    pairs = random_pairs()
    loader = TripletLoader(shop(pairs, 20, 12), 16, shuffle=True, num_negatives=0)
    users, items, negatives = epoch(loader)
    assert as_set(torch.stack([users, items])) == as_set(pairs)
    assert (negatives.shape, negatives.dtype) == ((pairs.size(1), 0), torch.long)
    assert loader.sample_negatives(torch.arange(4)).shape == (4, 0)
    # A user may have everything, as nothing is drawn for them.
    everything = torch.ones(2, 3).nonzero().t()
    assert len(list(TripletLoader(shop(everything, 2, 3), 2, num_negatives=0))) == 3


@pytest.mark.parametrize('num_negatives', [0, 1, 3])
@pytest.mark.parametrize('shuffle', [False, True])
def test_drawing_ahead_changes_nothing(
    shuffle: bool, num_negatives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shop(random_pairs(), 20, 12)

    def two_epochs(draws_at_once: int) -> list[Tensor]:
        monkeypatch.setattr(_triplet_batches, 'SAMPLES_AT_ONCE', draws_at_once)
        loader = TripletLoader(data, 7, shuffle=shuffle, num_negatives=num_negatives)
        return [tensor for _ in range(2) for batch in loader for tensor in batch]

    batch_by_batch = two_epochs(1)
    for draws_at_once in (7, 20, 50, 10_000):
        assert all(map(torch.equal, batch_by_batch, two_epochs(draws_at_once)))


def test_same_generator_state_same_triplets() -> None:
    data = shop(random_pairs(), 20, 12)

    def two_epochs(generator: torch.Generator | None) -> list[Tensor]:
        loader = TripletLoader(data, 16, shuffle=True, generator=generator)
        return [*epoch(loader), *epoch(loader)]

    first = two_epochs(torch.Generator().manual_seed(5))
    assert all(map(torch.equal, first, two_epochs(torch.Generator().manual_seed(5))))
    other = two_epochs(torch.Generator().manual_seed(6))
    assert not all(map(torch.equal, first, other))
    assert all(map(torch.equal, two_epochs(None), two_epochs(None)))


def test_global_random_state_is_neither_used_nor_changed() -> None:
    data = shop(random_pairs(), 20, 12)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = epoch(TripletLoader(data, 16, shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(map(torch.equal, first, epoch(TripletLoader(data, 16, shuffle=True))))


@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize(('num_edges', 'batch_size'), [(10, 4), (8, 4), (3, 4), (4, 4)])
def test_drop_last_and_len(num_edges: int, batch_size: int, drop_last: bool) -> None:
    pairs = torch.stack([torch.arange(num_edges), torch.zeros(num_edges, dtype=torch.long)])
    data = shop(pairs, 10, 2)
    loader = TripletLoader(data, batch_size, drop_last=drop_last, negatives_from='all')
    batches = [users.numel() for users, _, _ in loader]
    full, rest = divmod(num_edges, batch_size)
    assert batches == [batch_size] * full + ([rest] if rest and not drop_last else [])
    assert len(loader) == len(batches)


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('num_negatives', [0, 1, 3])
@pytest.mark.parametrize('num_replicas', [2, 3, 5])
@pytest.mark.parametrize('num_edges', [80, 81, 82, 84, 85])
@pytest.mark.parametrize('uniform_users', [False, True])
def test_replicas_share_every_batch(
    uniform_users: bool, num_edges: int, num_replicas: int, num_negatives: int, shuffle: bool
) -> None:
    data = shop(random_pairs()[:, :num_edges], 20, 12)

    def two_epochs(num_replicas: int = 1, rank: int = 0) -> list[tuple[Tensor, ...]]:
        loader = TripletLoader(
            data,
            20,
            shuffle=shuffle,
            num_negatives=num_negatives,
            uniform_users=uniform_users,
            num_replicas=num_replicas,
            rank=rank,
        )
        batches = [*loader, *loader]
        assert len(batches) == 2 * len(loader)
        return batches

    whole = two_epochs()
    num_batches = len(whole) // 2
    if 0 < num_edges % 20 < num_replicas:  # Too few for all replicas: part of the batch before.
        for last in (2 * num_batches - 1, num_batches - 1):
            rest = whole.pop(last)
            whole[last - 1] = tuple(map(torch.cat, zip(whole[last - 1], rest, strict=True)))
    shares = [two_epochs(num_replicas, rank) for rank in range(num_replicas)]
    assert [len(share) for share in shares] == [len(whole)] * num_replicas
    for batch, *parts in zip(whole, *shares, strict=True):
        for rank, part in enumerate(parts):
            assert part[0].numel() > 0
            assert all(
                torch.equal(tensor[rank::num_replicas], own)
                for tensor, own in zip(batch, part, strict=True)
            )


@pytest.mark.parametrize('num_edges', [80, 81, 83, 93])
def test_weighted_losses_of_replicas_average_to_that_of_the_batch(num_edges: int) -> None:
    data = shop(random_pairs()[:, :num_edges], 20, 12)
    generator = torch.Generator().manual_seed(0)
    z_user, z_item = (torch.randn(n, 4, generator=generator).double() for n in (20, 12))

    def losses(num_replicas: int, rank: int) -> Tensor:
        loader = TripletLoader(data, 40, shuffle=True, num_replicas=num_replicas, rank=rank)
        rows = [
            loader.loss_weight(batch) * BPRLoss()(z_user[users], z_item[items], z_item[negatives])
            for batch, (users, items, negatives) in enumerate(loader)
        ]
        return torch.stack(rows)

    weighted = torch.stack([losses(3, rank) for rank in range(3)]).mean(dim=0)
    whole = losses(1, 0)
    if num_edges % 40 in (1, 2):
        size = torch.tensor([40.0, num_edges % 40]).double()
        whole = torch.stack([whole[0], (whole[1:] * size).sum() / size.sum()])
    torch.testing.assert_close(weighted, whole)


def test_loss_weights_by_hand() -> None:
    pairs = torch.stack([torch.arange(10), torch.zeros(10, dtype=torch.long)])
    data = shop(pairs, 10, 2)
    weights = [
        [loader.loss_weight(batch) for batch in range(len(loader))]
        for loader in (
            TripletLoader(data, 6, negatives_from='all', num_replicas=3, rank=rank)
            for rank in range(3)
        )
    ]
    assert weights == [[1.0, 1.5], [1.0, 0.75], [1.0, 0.75]]  # Of four rows, 2, 1 and 1.
    assert TripletLoader(data, 6, negatives_from='all').loss_weight(1) == 1.0


@pytest.mark.parametrize('num_replicas', [2, 4])
def test_replicas_and_drop_last(num_replicas: int) -> None:
    data = shop(random_pairs()[:, :45], 20, 12)
    for rank in range(num_replicas):
        loader = TripletLoader(data, 8, drop_last=True, num_replicas=num_replicas, rank=rank)
        assert [users.numel() for users, _, _ in loader] == [8 // num_replicas] * 5
        assert len(loader) == 5


@pytest.mark.parametrize('num_epochs', [1, 2])
@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize('uniform_users', [False, True])
def test_goes_on_from_a_saved_state(uniform_users: bool, num_epochs: int, drop_last: bool) -> None:
    data = shop(random_pairs(), 20, 12)

    def loader(seed: int) -> TripletLoader:
        generator = torch.Generator().manual_seed(seed)
        return TripletLoader(
            data,
            16,
            shuffle=True,
            uniform_users=uniform_users,
            drop_last=drop_last,
            generator=generator,
        )

    first = loader(1)
    for _ in range(num_epochs):
        epoch(first)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    expected = [*epoch(first), *epoch(first)]
    file.seek(0)
    second = loader(2)
    epoch(second)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert all(map(torch.equal, expected, [*epoch(second), *epoch(second)]))


def test_a_state_is_a_copy() -> None:
    loader = TripletLoader(shop(random_pairs(), 20, 12), 16, shuffle=True)
    state = loader.state_dict()
    first = epoch(loader)
    loader.load_state_dict(state)
    assert all(map(torch.equal, first, epoch(loader)))


@pytest.mark.parametrize('uniform_users', [False, True])
def test_copies_draw_the_same(uniform_users: bool) -> None:
    data = shop(random_pairs(), 20, 12)
    loader = TripletLoader(data, 16, shuffle=True, popularity=0.75, uniform_users=uniform_users)
    epoch(loader)
    copies = copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))
    expected = [*epoch(loader), *epoch(loader)]
    for other in copies:
        assert all(map(torch.equal, expected, [*epoch(other), *epoch(other)]))


@pytest.mark.parametrize('num_workers', [1, 2])
def test_workers_draw_the_same_users(num_workers: int) -> None:
    data = shop(random_pairs(), 20, 12)

    def users(num_workers: int) -> Tensor:
        return epoch(TripletLoader(data, 16, uniform_users=True, num_workers=num_workers))[0]

    assert torch.equal(users(num_workers), users(3 - num_workers))


@pytest.mark.parametrize('dtype', [torch.int32, torch.long])
def test_users_drawn_uniformly_are_those_of_label_edges(dtype: torch.dtype) -> None:
    label = torch.tensor([[3, 1, 3], [2, 0, 4]], dtype=dtype)
    data = shop(torch.tensor([[0, 2], [1, 1]], dtype=dtype), 4, 6, label)
    users, items, negatives = epoch(TripletLoader(data, 2, uniform_users=True))
    assert users.numel() == 3
    assert as_set(torch.stack([users, items])) <= as_set(label)
    assert negatives.numel() == 3


def test_is_a_data_loader_of_whole_batches() -> None:
    """What libraries rely on that build a loader of their own over the same data set."""
    data = shop(random_pairs(), 20, 12)
    loader = TripletLoader(data, 16, shuffle=True)
    assert isinstance(loader, DataLoader)
    assert isinstance(loader.dataset, IterableDataset)
    assert loader.batch_size is None
    again = DataLoader(loader.dataset, batch_size=loader.batch_size)
    expected = TripletLoader(data, 16, shuffle=True)
    assert len(again) == len(expected) == len(loader)
    assert all(map(torch.equal, epoch(expected), epoch(again)))


def test_the_same_generator_gives_the_batches_of_the_data_set() -> None:
    data = shop(random_pairs(), 20, 12)
    loader = TripletLoader(data, 16, shuffle=True)
    batches = TripletLoader(data, 16, shuffle=True).dataset
    for _ in range(3):
        assert all(map(torch.equal, epoch(loader), epoch(batches)))


@pytest.mark.parametrize('persistent_workers', [False, True])
@pytest.mark.parametrize('num_workers', [1, 2])
def test_workers_share_the_batches(
    num_workers: int, persistent_workers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_triplet_batches, 'SAMPLES_AT_ONCE', 60)  # Groups of three batches.
    pairs = random_pairs()

    def epochs(num_workers: int, seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        batches = TripletLoader(
            shop(pairs, 20, 12),
            20,
            shuffle=True,
            num_workers=num_workers,
            persistent_workers=persistent_workers,
            generator=torch.Generator().manual_seed(seed),
        )
        return [epoch(batches) for _ in range(3)]

    state = torch.get_rng_state()
    first = epochs(num_workers, seed=0)
    for users, items, negatives in first:
        assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == sorted(as_set(pairs))
        assert not as_set(torch.stack([users, negatives])) & as_set(pairs)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(first[one][0], first[other][0])
        assert not torch.equal(first[one][2], first[other][2])
    flat = [tensor for batch in first for tensor in batch]
    again = [tensor for batch in epochs(num_workers, seed=0) for tensor in batch]
    assert all(map(torch.equal, flat, again))
    # The number of workers changes nothing; another seed does.
    others = [tensor for batch in epochs(3 - num_workers, seed=0) for tensor in batch]
    assert all(map(torch.equal, flat, others))
    assert not torch.equal(flat[0], epochs(1, seed=1)[0][0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('num_epochs', [0, 2])
def test_workers_go_on_from_a_saved_state(num_epochs: int) -> None:
    def loader(seed: int) -> TripletLoader:
        generator = torch.Generator().manual_seed(seed)
        data = shop(random_pairs(), 20, 12)
        return TripletLoader(data, 16, shuffle=True, generator=generator, num_workers=2)

    first, second = loader(1), loader(2)
    for _ in range(num_epochs):
        epoch(first)
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        assert all(map(torch.equal, epoch(first), epoch(second)))


def test_workers_of_replicas() -> None:
    pairs = random_pairs()

    def share(num_replicas: int, rank: int) -> list[tuple[Tensor, ...]]:
        data = shop(pairs, 20, 12)
        loader = TripletLoader(
            data, 20, shuffle=True, num_replicas=num_replicas, rank=rank, num_workers=2
        )
        return list(loader)

    for batch, *parts in zip(share(1, 0), share(2, 0), share(2, 1), strict=True):
        for rank, part in enumerate(parts):
            assert all(
                torch.equal(tensor[rank::2], own) for tensor, own in zip(batch, part, strict=True)
            )


def test_label_edges_are_the_triplets_and_both_are_positives() -> None:
    pairs = torch.tensor([[0, 0, 1], [0, 1, 2]])
    label = torch.tensor([[0, 1, 1], [2, 0, 1]])
    loader = TripletLoader(shop(pairs, 2, 4, label), 2, negatives_from='all')
    users, items, negatives = epoch(loader)
    assert torch.equal(torch.stack([users, items]), label)
    assert negatives.tolist() == [3, 3, 3]  # Everything else is in one or the other.


def test_int32_ids() -> None:
    pairs = random_pairs()
    users, items, negatives = epoch(TripletLoader(shop(pairs.int(), 20, 12), 16))
    expected = epoch(TripletLoader(shop(pairs, 20, 12), 16))
    assert all(map(torch.equal, (users, items, negatives), expected))


def test_data_stays_as_it_was() -> None:
    data = shop(random_pairs(), 20, 12)
    before = data['user', 'interacts', 'item'].edge_index.clone()
    epoch(TripletLoader(data, 16, shuffle=True))
    assert torch.equal(data['user', 'interacts', 'item'].edge_index, before)
    assert list(data['user', 'interacts', 'item'].keys()) == ['edge_index']


def test_repr() -> None:
    pairs = torch.tensor([[0, 1], [0, 1]])
    assert repr(TripletLoader(shop(pairs, 2, 3), 8)) == (
        'TripletLoader(2 interactions, batch_size=8)'
    )


@pytest.mark.parametrize('popularity', [0.0, 0.75])
@pytest.mark.parametrize('negatives_from', ['warm', 'all'])
def test_shared_negatives(negatives_from: str, popularity: float) -> None:
    pairs = torch.tensor([[0, 0, 1, 1, 2, 3], [0, 1, 0, 2, 0, 1]])  # Item 3 is cold.
    loader = TripletLoader(
        shop(pairs, 4, 4),
        batch_size=4,
        num_negatives=5000,
        shared_negatives=True,
        negatives_from=negatives_from,
        popularity=popularity,
    )
    drawn = []
    for users, items, negatives in loader:
        assert users.shape == items.shape
        assert negatives.shape == (1, 5000)
        drawn.append(negatives[0])
    assert len(drawn) == 2
    assert not torch.equal(*drawn)
    degree = torch.tensor([3.0, 2.0, 1.0, 0.0])
    weight = degree**popularity
    if negatives_from == 'warm':
        weight[3] = 0.0
    share = torch.bincount(torch.cat(drawn), minlength=4) / 10_000
    torch.testing.assert_close(share, weight / weight.sum(), rtol=0, atol=0.02)


@pytest.mark.parametrize('num_replicas', [2, 3])
def test_replicas_have_the_same_shared_negatives(num_replicas: int) -> None:
    data = shop(random_pairs(), 20, 12)
    one = list(TripletLoader(data, 16, True, num_negatives=6, shared_negatives=True))
    for rank in range(num_replicas):
        loader = TripletLoader(
            data,
            16,
            True,
            num_negatives=6,
            shared_negatives=True,
            num_replicas=num_replicas,
            rank=rank,
        )
        for share, whole in zip(loader, one, strict=True):
            assert torch.equal(share[0], whole[0][rank::num_replicas])
            assert torch.equal(share[2], whole[2])


def test_shared_negatives_drawn_ahead_and_in_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    data = shop(random_pairs(), 20, 12)

    def batches() -> list[tuple[Tensor, Tensor, Tensor]]:
        return list(TripletLoader(data, 16, True, num_negatives=6, shared_negatives=True))

    ahead = batches()
    monkeypatch.setattr(_triplet_batches, 'SAMPLES_AT_ONCE', 1)
    for one, other in zip(ahead, batches(), strict=True):
        assert all(map(torch.equal, one, other))
    loader = TripletLoader(data, 16, num_negatives=6, shared_negatives=True, num_workers=2)
    in_workers = list(loader)
    assert len(in_workers) == len(loader)
    assert all(negatives.shape == (1, 6) for _, _, negatives in in_workers)
    assert torch.equal(
        torch.cat([users for users, _, _ in in_workers]), data['user', 'item'].edge_index[0]
    )


def test_nothing_to_share() -> None:
    with pytest.raises(ValueError, match="'shared_negatives'"):
        TripletLoader(shop(random_pairs(), 20, 12), num_negatives=0, shared_negatives=True)


def test_users_with_all_items() -> None:
    pairs = torch.tensor([[0, 1, 1, 2, 2], [0, 0, 1, 0, 1]])
    with pytest.raises(ValueError, match=r'2 users \(first: 1\) have interacted with all 2 items'):
        TripletLoader(shop(pairs, 3, 2))
    with pytest.raises(ValueError, match=r"2 users .* all 2 items .*negatives_from='all'"):
        TripletLoader(shop(pairs, 3, 2), negatives_from='all')
    with pytest.raises(ValueError, match=r"leave these users out .* or sample from 'all' items"):
        TripletLoader(shop(pairs, 3, 3))
    assert epoch(TripletLoader(shop(pairs, 3, 3), negatives_from='all'))[2][-1] == 2
    with pytest.raises(ValueError, match=r'1 users .* all 2 items .*popularity=0\.5\).*=0$'):
        # A third item that nobody has is never drawn in proportion to its popularity.
        TripletLoader(shop(pairs[:, :3], 2, 3), negatives_from='all', popularity=0.5)
    with pytest.raises(ValueError, match=r'1 users \(first: 0\)'):  # Half of it as label edges.
        TripletLoader(shop(pairs[:, :1], 3, 2, torch.tensor([[0], [1]])))


def test_mistakes() -> None:
    pairs = torch.tensor([[0], [0]])
    nothing = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(ValueError, match="'batch_size' must be a positive integer"):
        TripletLoader(shop(pairs, 1, 2), 0)
    for number in (-1, 1.5, True):
        with pytest.raises(
            ValueError, match="'num_negatives' must be an integer that is not negative"
        ):
            TripletLoader(shop(pairs, 1, 2), num_negatives=number)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'rank' must be an integer that is not negative"):
            TripletLoader(shop(pairs, 1, 2), rank=number)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'num_workers' must be an integer that is not neg"):
            TripletLoader(shop(pairs, 1, 2), num_workers=number)  # type: ignore[arg-type]
    for popularity in (-0.1, float('nan'), float('inf')):
        with pytest.raises(ValueError, match="'popularity' must be finite and not negative"):
            TripletLoader(shop(pairs, 1, 2), popularity=popularity)
    with pytest.raises(ValueError, match="'num_replicas' must be a positive integer"):
        TripletLoader(shop(pairs, 1, 2), num_replicas=0)
    with pytest.raises(ValueError, match=r"'rank' must be less than 'num_replicas', 2 \(got 2\)"):
        TripletLoader(shop(pairs, 1, 2), num_replicas=2, rank=2)
    with pytest.raises(ValueError, match=r"'batch_size' must be at least 'num_replicas', 4, .*3\)"):
        TripletLoader(shop(pairs, 1, 2), 3, num_replicas=4)
    with pytest.raises(ValueError, match="1 train interactions, fewer than 'num_replicas', 2"):
        TripletLoader(shop(pairs, 1, 2), num_replicas=2)
    with pytest.raises(ValueError, match="'negatives_from' must be one of 'warm', 'all'"):
        TripletLoader(shop(pairs, 1, 2), negatives_from='cold')
    with pytest.raises(ValueError, match="'data' has no train interactions"):
        TripletLoader(shop(nothing, 1, 2))
    with pytest.raises(ValueError, match="'edge_index' holds the item id 2"):
        TripletLoader(shop(torch.tensor([[0], [2]]), 1, 2))
    with pytest.raises(ValueError, match="'edge_label_index' holds the item id 2"):
        TripletLoader(shop(pairs, 1, 2, torch.tensor([[0], [2]])))
    with pytest.raises(ValueError, match="'edge_label_index' must hold integer ids"):
        TripletLoader(shop(pairs, 1, 2, torch.tensor([[0.0], [1.0]])))
    data = HeteroData()
    data['user'].num_nodes = data['item'].num_nodes = 2
    with pytest.raises(ValueError, match='has no edge type'):
        TripletLoader(data)
