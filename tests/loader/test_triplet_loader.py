import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.loader import TripletLoader


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


def epoch(loader: TripletLoader) -> tuple[Tensor, Tensor, Tensor]:
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
def test_negatives_are_never_positives(seed: int, num_negatives: int, negatives_from: str) -> None:
    pairs = random_pairs(density=[0.1, 0.5, 0.8, 0.95, 0.99][seed], seed=seed)
    loader = TripletLoader(
        shop(pairs, 20, 12),
        16,
        shuffle=True,
        num_negatives=num_negatives,
        negatives_from=negatives_from,
    )
    known = as_set(pairs)
    for _ in range(10):
        users, _, negatives = epoch(loader)
        assert negatives.shape == ((users.numel(), 3) if num_negatives == 3 else (users.numel(),))
        assert int(negatives.min()) >= 0
        assert int(negatives.max()) < 12
        for user, row in zip(users.tolist(), negatives.view(users.numel(), -1), strict=True):
            assert not {(user, item) for item in row.tolist()} & known


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


def test_negatives_of_one_triplet_are_drawn_independently() -> None:
    loader = TripletLoader(shop(random_pairs(), 20, 12), num_negatives=4)
    negatives = loader.sample_negatives(torch.zeros(50, dtype=torch.long))
    assert negatives.shape == (50, 4)
    assert any(len(set(row)) > 1 for row in negatives.tolist())
    assert loader.sample_negatives(torch.empty(0, dtype=torch.long)).shape == (0, 4)


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


def test_users_with_all_items() -> None:
    pairs = torch.tensor([[0, 1, 1, 2, 2], [0, 0, 1, 0, 1]])
    with pytest.raises(ValueError, match=r'2 users \(first: 1\) have interacted with all 2 items'):
        TripletLoader(shop(pairs, 3, 2))
    with pytest.raises(ValueError, match=r"2 users .* all 2 items .*negatives_from='all'"):
        TripletLoader(shop(pairs, 3, 2), negatives_from='all')
    with pytest.raises(ValueError, match=r"leave these users out .* or draw from 'all' items"):
        TripletLoader(shop(pairs, 3, 3))
    assert epoch(TripletLoader(shop(pairs, 3, 3), negatives_from='all'))[2][-1] == 2
    with pytest.raises(ValueError, match=r'1 users \(first: 0\)'):  # Half of it as label edges.
        TripletLoader(shop(pairs[:, :1], 3, 2, torch.tensor([[0], [1]])))


def test_mistakes() -> None:
    pairs = torch.tensor([[0], [0]])
    nothing = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(ValueError, match="'batch_size' must be a positive integer"):
        TripletLoader(shop(pairs, 1, 2), 0)
    with pytest.raises(ValueError, match="'num_negatives' must be a positive integer"):
        TripletLoader(shop(pairs, 1, 2), num_negatives=0)
    with pytest.raises(ValueError, match="'negatives_from' must be one of 'warm', 'all'"):
        TripletLoader(shop(pairs, 1, 2), negatives_from='cold')
    with pytest.raises(ValueError, match="'data' has no train interactions"):
        TripletLoader(shop(nothing, 1, 2))
    with pytest.raises(ValueError, match="'edge_index' holds the item id 2"):
        TripletLoader(shop(torch.tensor([[0], [2]]), 1, 2))
    with pytest.raises(ValueError, match="'edge_label_index' holds the item id 2"):
        TripletLoader(shop(pairs, 1, 2, torch.tensor([[0], [2]])))
    data = HeteroData()
    data['user'].num_nodes = data['item'].num_nodes = 2
    with pytest.raises(ValueError, match='has no edge type'):
        TripletLoader(data)
