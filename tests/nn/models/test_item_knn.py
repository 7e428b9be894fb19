import math

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import ItemKNN
from pyg_mmgef.ranking import evaluate_ranking, recommend
from pyg_mmgef.schema import INTERACTS
from tests.nn.models.shops import COLD, interacting, small_shop


def random_shop(num_users: int = 30, num_items: int = 20) -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    taken = torch.rand(num_users, num_items, generator=generator) < 0.2
    taken[3], taken[:, 7] = False, False
    return interacting(taken.nonzero().t(), num_users, num_items)


def expected_scores(data: HeteroData, k: int, weighting: str, min_count: int) -> Tensor:
    """The sum over what a user has taken, of similarities counted from sets of users."""
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    users_of: list[set[int]] = [set() for _ in range(num_items)]
    for user, item in data[INTERACTS].edge_index.t().tolist():
        users_of[item].add(user)

    def similarity(i: int, j: int) -> float:
        shared = len(users_of[i] & users_of[j])
        shared = shared if shared >= min_count else 0
        if weighting == 'cosine':
            return shared / math.sqrt(len(users_of[i]) * len(users_of[j])) if shared else 0.0
        return shared / len(users_of[i] | users_of[j]) if shared else 0.0

    scores = torch.zeros(num_users, num_items, dtype=torch.double)
    for i in range(num_items):
        others = [j for j in range(num_items) if j != i]
        nearest = sorted(others, key=lambda j: (-round(similarity(i, j), 9), j))[:k]
        for j in nearest:
            for user in users_of[j]:
                scores[user, i] += similarity(i, j)
    return scores


@pytest.mark.parametrize('weighting', ['cosine', 'jaccard'])
@pytest.mark.parametrize('k', [1, 3, 100])
@pytest.mark.parametrize('min_count', [1, 2])
def test_scores_equal_the_formula(weighting: str, k: int, min_count: int) -> None:
    for data in (random_shop(), small_shop()):
        model = ItemKNN.from_data(data, k=k, weighting=weighting, min_count=min_count).double()
        z_user, z_item = model(data)
        assert z_user.layout == z_item.layout == torch.sparse_csr
        assert z_user.dtype == z_item.dtype == torch.double
        scores = z_user.to_dense() @ z_item.to_dense().t()
        expected = expected_scores(data, k, weighting, min_count)
        torch.testing.assert_close(scores, expected, rtol=1e-6, atol=1e-6)  # Float32 weights.


def test_embeddings_are_as_sparse_as_the_graphs() -> None:
    data = random_shop()
    z_user, z_item = ItemKNN.from_data(data, k=2)(data)
    assert z_user.values().numel() == data[INTERACTS].edge_index.size(1)
    assert z_item.values().numel() <= 2 * 20
    assert (z_user.shape, z_item.shape) == ((30, 20), (20, 20))


def test_some_rows() -> None:
    data = random_shop()
    model = ItemKNN.from_data(data, k=3)
    z_user, z_item = (z.to_dense() for z in model(data))
    users, items = torch.tensor([5, 3, 29, 5]), torch.tensor([19, 0, 7, 7], dtype=torch.int32)
    some_user, some_item = model(data, users, items)
    assert some_user.layout == some_item.layout == torch.sparse_csr
    assert torch.equal(some_user.to_dense(), z_user[users])
    assert torch.equal(some_item.to_dense(), z_item[items.long()])
    none, _ = model(data, users[:0])
    assert none.shape == (0, 20)


def test_a_repeated_interaction_counts_once() -> None:
    data = random_shop()
    edge_index = data[INTERACTS].edge_index
    model = ItemKNN.from_data(data, k=3)
    once = [z.to_dense() for z in model(data)]
    data[INTERACTS].edge_index = torch.cat([edge_index, edge_index[:, ::2]], dim=1)
    for z, expected in zip(model(data), once, strict=True):
        assert torch.equal(z.to_dense(), expected)


def test_the_cold_and_the_idle() -> None:
    data = small_shop()
    z_user, z_item = (z.to_dense() for z in ItemKNN.from_data(data)(data))
    assert not z_item[COLD].any()
    assert not z_item[:, COLD].any()
    assert not z_user[5].any()


def test_evaluated_and_recommended_as_dense_scores_are() -> None:
    data = random_shop()
    z_user, z_item = ItemKNN.from_data(data, k=5)(data)
    edges = data[INTERACTS].edge_index
    target, seen = edges[:, ::3], edges[:, 1::3]
    as_dense = z_user.to_dense(), z_item.to_dense()
    assert evaluate_ranking(z_user, z_item, target, exclude=seen, k=(3, 8)) == pytest.approx(
        evaluate_ranking(*as_dense, target, exclude=seen, k=(3, 8))
    )
    scores, items = recommend(z_user, z_item, k=4, exclude=seen)
    expected = recommend(*as_dense, k=4, exclude=seen)
    torch.testing.assert_close(scores, expected.scores)
    assert torch.equal(items, expected.items)


def test_built_once_for_the_same_interactions() -> None:
    data = random_shop()
    model = ItemKNN.from_data(data)
    assert model(data)[0] is model(data)[0]
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :9]
    assert model(data)[0].values().numel() == 9
    model.reset_parameters()
    assert model._cache._entry is None


def test_ids_must_be_a_vector() -> None:
    data = random_shop()
    model = ItemKNN.from_data(data)
    with pytest.raises(ValueError, match='ids must be a vector'):
        model(data, None, torch.tensor([[0, 1]]))
