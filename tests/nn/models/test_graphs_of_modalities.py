"""What models with an item graph of each modality have in common."""

from typing import Any

import pytest
import torch

from pyg_mmgef.nn import FREEDOM, MGCN, SMORE, LGMRec
from pyg_mmgef.schema import ITEM
from tests.nn.models.multimodal import built, shop, without_interactions
from tests.nn.models.shops import COLD


@pytest.mark.parametrize('cls', [FREEDOM, MGCN, SMORE])
def test_a_cold_item_has_what_its_neighbours_send(cls: Any) -> None:
    data, model = shop(), built(cls, shop()).eval()
    before = model(data)
    model.light_gcn.item_embedding.weight.data[COLD] += 10.0
    torch.testing.assert_close(model(data), before)
    assert before[1][COLD].ne(0).any(dim=1).all()
    for relation in ('similar_image', 'similar_text'):
        graph = data[ITEM, relation, ITEM]
        graph.edge_weight = torch.zeros_like(graph.edge_weight)
    assert torch.equal(model(data)[1][COLD], torch.zeros(2, 4).double())


@pytest.mark.parametrize('cls', [FREEDOM, LGMRec, MGCN, SMORE])
def test_no_interactions(cls: Any) -> None:
    data, model = without_interactions(), built(cls, shop(), num_layers=1).eval()
    z_user, z_item = model(data)
    assert torch.equal(z_user, model.light_gcn.user_embedding.weight / 2)
    assert torch.equal(z_item, torch.zeros(9, 4).double())
