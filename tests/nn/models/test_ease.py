import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import CEASE, EASE
from pyg_mmgef.schema import INTERACTS
from tests.nn.models.shops import COLD, interacting, interaction_matrix, small_shop

WARM = [item for item in range(9) if item not in COLD]


def scores(model: EASE, data: HeteroData) -> Tensor:
    z_user, z_item = model.double().embed(data, None, None)
    assert z_user.layout == torch.sparse_csr
    return z_user.to_dense() @ z_item.t()


def column_by_column(matrix: Tensor, l2: float) -> Tensor:
    """The weights of a ridge regression of each column on all others."""
    num_items = matrix.size(1)
    weights = torch.zeros(num_items, num_items).double()
    for item in range(num_items):
        others = [other for other in range(num_items) if other != item]
        x, y = matrix[:, others], matrix[:, item]
        gram = x.t() @ x + l2 * torch.eye(len(others)).double()
        weights[others, item] = torch.linalg.solve(gram, x.t() @ y)
    return weights


@pytest.mark.parametrize('l2', [0.5, 100.0])
def test_each_item_is_regressed_on_the_others(l2: float) -> None:
    data = small_shop()
    history = interaction_matrix(data).gt(0).double()
    expected = history @ column_by_column(history, l2)
    torch.testing.assert_close(scores(EASE.from_data(data, l2=l2), data), expected)


def test_features_are_further_rows() -> None:
    data = small_shop()
    history = interaction_matrix(data).gt(0).double()
    parts = []
    for name, lacking in (('image', [5, 6]), ('text', [6])):
        x = torch.nn.functional.normalize(data['item'][f'x_{name}'])
        there = [item for item in range(9) if item not in lacking]
        counted = [item for item in there if item in WARM]
        centred = torch.zeros_like(x)
        centred[there] = x[there] - x[counted].mean(dim=0)
        parts.append(centred)
    both = torch.cat([history, 2.0**0.5 * torch.cat(parts, dim=1).t()])
    expected = history @ column_by_column(both, 3.0)
    model = CEASE.from_data(data, l2=3.0, feature_weight=2.0)
    torch.testing.assert_close(scores(model, data), expected)
    assert scores(model, data)[:, COLD].abs().max(dim=0).values.min() > 0


def test_features_that_change_are_read_anew() -> None:
    data = small_shop()
    model = CEASE.from_data(data, l2=1.0)
    before = scores(model, data)
    data['item'].x_text = data['item'].x_text.flip(0)
    assert not torch.allclose(scores(model, data), before)


def test_without_features() -> None:
    data = interacting(torch.tensor([[0, 1], [0, 1]]), 2, 3)
    with pytest.raises(ValueError, match="'data' has no item features, which CEASE needs"):
        CEASE.from_data(data)(data)


def test_a_repeated_interaction_counts_once() -> None:
    data, repeated = small_shop(), small_shop()
    edges = data[INTERACTS].edge_index
    repeated[INTERACTS].edge_index = torch.cat([edges, edges], dim=1)
    model = EASE.from_data(data, l2=1.0)
    torch.testing.assert_close(scores(model, data), scores(model, repeated))


def test_too_many_items() -> None:
    with pytest.raises(ValueError, match=r'EASE of 100000 items takes 240,000,000,000 bytes'):
        EASE(10, 100_000)
    with pytest.raises(ValueError, match='use ItemKNN or IALS'):
        CEASE(10, 100, max_bytes=1000)
    EASE(10, 100, max_bytes=240_000)
