from collections import Counter

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import IALS, Popularity
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.runs import warm_up
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.transforms import AddCoInteractionGraph, SplitColdItems
from tests.transforms.shops import assert_unchanged, pairs_of, random_shop, snapshot

WARM, VAL, TEST = SplitColdItems(0.4, seed=0)(random_shop(num_users=60))
COLD = torch.cat([part[INTERACTS].edge_label_index for part in (VAL, TEST)], dim=1)
Embeddings = tuple[Tensor, Tensor]


class Spy:
    """Stands for a model, keeps what it is fitted to, and embeds at random, always alike."""

    def __init__(self) -> None:
        self.graphs: list[HeteroData] = []
        generator = torch.Generator().manual_seed(0)
        self.z = torch.randn(60, 4, generator=generator), torch.randn(30, 4, generator=generator)

    def __call__(self, train: HeteroData) -> Embeddings:
        self.graphs.append(train)
        return self.z

    def added(self) -> list[list[tuple[int, int]]]:
        """Return what joined the train graph in each fit."""
        num_warm = WARM[INTERACTS].edge_index.size(1)
        return [pairs_of(graph[INTERACTS].edge_index[:, num_warm:]) for graph in self.graphs]


def test_so_many_interactions_of_each_item_join_the_train_graph() -> None:
    spy, before = Spy(), snapshot(WARM)
    curve = warm_up(WARM, COLD, spy, revealed=(5, 0, 2), k=3)
    assert list(curve) == [0, 2, 5]
    total = Counter(item for _, item in pairs_of(COLD))
    added = spy.added()
    for number, pairs in zip(curve, added, strict=True):
        assert set(pairs) <= set(pairs_of(COLD))
        assert len(set(pairs)) == len(pairs)
        counts = Counter(item for _, item in pairs)
        assert all(counts[item] == min(number, total[item]) for item in total)
    assert set(added[1]) < set(added[2])
    for graph in spy.graphs:
        edges, labels = graph[INTERACTS].edge_index, graph[INTERACTS].edge_label_index
        assert torch.equal(edges, labels)
        num_warm = WARM[INTERACTS].edge_index.size(1)
        assert torch.equal(edges[:, :num_warm], WARM[INTERACTS].edge_index)
        assert set(graph[INTERACTS].keys()) == {'edge_index', 'edge_label_index'}
        assert graph['item'].x_text is WARM['item'].x_text
    assert_unchanged(WARM, before)


def test_all_numbers_are_ranked_alike() -> None:
    spy = Spy()
    exclude = torch.tensor([[59, 3], [0, 1]])
    curve = warm_up(WARM, COLD, spy, revealed=(0, 2, 5), k=(1, 3), exclude=exclude)
    revealed = set(spy.added()[-1])
    target = torch.tensor([pair for pair in pairs_of(COLD) if pair not in revealed]).t()
    known = torch.cat([spy.graphs[-1][INTERACTS].edge_index, exclude], dim=1)
    for ranking, items in (('cold among cold', target[1].unique()), ('cold among all', None)):
        expected = evaluate_ranking(
            *spy.z, target, exclude=known, candidates=items, k=(1, 3), metrics=('recall', 'ndcg')
        )
        for point in curve.values():
            assert point[ranking] == expected


def test_the_sample() -> None:
    def sample(seed: int, cold: Tensor = COLD) -> set[tuple[int, int]]:
        spy = Spy()
        warm_up(WARM, cold, spy, revealed=(3,), k=3, seed=seed)
        return set(spy.added()[0])

    state = torch.get_rng_state()
    assert sample(0) == sample(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert sample(0) != sample(1)
    repeated = torch.cat([COLD.flip(1), COLD[:, ::2]], dim=1)
    assert sample(0) == sample(0, repeated)
    assert set.union(*(sample(seed) for seed in range(30))) == set(pairs_of(COLD))


def popularity(train: HeteroData) -> Embeddings:
    return Popularity.from_data(train)(train)


def test_a_model_learns_from_what_is_revealed() -> None:
    """Users like the items of their group; nothing but the interactions tells the groups."""
    user, item = torch.meshgrid(torch.arange(40), torch.arange(30), indexing='ij')
    generator = torch.Generator().manual_seed(0)
    likes = (user % 2 == item % 2) & (torch.rand(40, 30, generator=generator) < 0.7)
    data = HeteroData({'user': {'num_nodes': 40}, 'item': {'num_nodes': 30}})
    data[INTERACTS].edge_index = likes.nonzero().t()
    train, *halves = SplitColdItems(0.4)(data)
    cold = torch.cat([half[INTERACTS].edge_label_index for half in halves], dim=1)

    def fit(train: HeteroData) -> Embeddings:
        return IALS.from_data(train, embedding_dim=2, unobserved_weight=0.1).eval()(train)

    curve = warm_up(train, cold, fit, revealed=(0, 2), k=6)
    recalls = [point['cold among cold']['recall@6'] for point in curve.values()]
    assert recalls[0] == pytest.approx(0.5, abs=0.1)  # Chance: six of twelve cold items.
    assert recalls[1] > 0.8


def test_data_without_supervision_edges() -> None:
    data = HeteroData({'user': {'num_nodes': 4}, 'item': {'num_nodes': 3}})
    data[INTERACTS].edge_index = torch.tensor([[0], [0]])
    cold = torch.tensor([[0, 1, 2], [1, 1, 1]])
    graphs: list[HeteroData] = []

    def fit(train: HeteroData) -> Embeddings:
        graphs.append(train)
        return popularity(train)

    warm_up(data, cold, fit, revealed=(0, 2), k=1)
    assert [list(graph[INTERACTS].keys()) for graph in graphs] == 2 * [['edge_index']]
    assert graphs[1][INTERACTS].edge_index.size(1) == 3


def test_mistakes() -> None:
    spy = Spy()
    with pytest.raises(ValueError, match="'revealed' is empty"):
        warm_up(WARM, COLD, spy, revealed=())
    for number in (-1, 1.5):
        with pytest.raises(ValueError, match="'revealed' must be an integer that is not negative"):
            warm_up(WARM, COLD, spy, revealed=(0, number))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no item of 'cold' has more than 100 interactions"):
        warm_up(WARM, COLD, spy, revealed=(0, 100))
    warm = WARM[INTERACTS].edge_index[:, :2]
    with pytest.raises(ValueError, match=r"'cold' holds 2 interactions with items that have train"):
        warm_up(WARM, torch.cat([COLD, warm], dim=1), spy)
    with pytest.raises(ValueError, match="'cold'"):
        warm_up(WARM, torch.tensor([[0], [99]]), spy)
    with pytest.raises(ValueError, match=r"'train' has the item graph .*let 'fit' build it"):
        warm_up(AddCoInteractionGraph(k=3)(WARM), COLD, spy)
    assert spy.graphs == []
