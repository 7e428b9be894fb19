import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import BPRLoss
from pyg_mmgef.nn.models.parameter_free import ParameterFree
from tests.nn.models.shops import interacting


class Nothing(ParameterFree):
    def forward(
        self, data: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return torch.zeros(2, 1), torch.zeros(3, 1)


def test_has_a_type_but_nothing_to_save() -> None:
    model = Nothing(2, 3)
    assert model.dtype == torch.float32
    assert model.double().dtype == torch.double
    assert model.state_dict() == {}
    assert list(model.parameters()) == []


@pytest.mark.parametrize('dtype', [torch.int64, torch.int32])
def test_distinct_interactions(dtype: torch.dtype) -> None:
    data = interacting(torch.tensor([[1, 0, 1, 1], [2, 2, 0, 2]], dtype=dtype), 2, 3)
    assert Nothing(2, 3).distinct_interactions(data).tolist() == [[0, 1, 1], [2, 0, 2]]
    none = interacting(torch.empty(2, 0, dtype=dtype), 2, 3)
    assert Nothing(2, 3).distinct_interactions(none).shape == (2, 0)


def test_nothing_to_train() -> None:
    data = interacting(torch.tensor([[0], [0]]), 2, 3)
    ids = torch.tensor([0])
    with pytest.raises(ValueError, match='Nothing has no parameters, so there is nothing to train'):
        Nothing(2, 3).loss(data, ids, ids, ids, BPRLoss())
