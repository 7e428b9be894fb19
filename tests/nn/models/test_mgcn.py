from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import MGCN
from pyg_mmgef.schema import ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.multimodal import (
    LACKS,
    NEGATIVES,
    affine,
    built,
    check_contrast_of_views,
    check_embeddings,
    close,
    has_modality,
    item_matrix,
    of_light_gcn,
    send,
    shop,
    sigmoid,
    warm,
)
from tests.nn.models.shops import interaction_matrix
from tests.references import bipartite_normalized


def model_of(data: HeteroData, **kwargs: Any) -> MGCN:
    return built(MGCN, data, **kwargs)


def expected_views(model: MGCN, data: HeteroData) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Content and fused embeddings of the users, then of the items."""
    walk = bipartite_normalized(interaction_matrix(data))
    content_user, content_item = of_light_gcn(model.light_gcn, data)
    is_warm = warm(data)
    content = torch.cat([content_user, is_warm * content_item])
    e_item = model.light_gcn.item_embedding.weight
    views = []
    for gate, name in zip(model.gate, LACKS, strict=True):
        x = affine(layer_of(model.lin, name), data[ITEM][f'x_{name}'])
        h = has_modality(name) * is_warm * e_item * sigmoid(affine(gate, x))
        for _ in range(model.num_item_layers):
            h = item_matrix(data, f'similar_{name}') @ h
        views.append(torch.cat([walk @ h, h]))
    exp = [affine(model.query[2], torch.tanh(affine(model.query[0], h))).exp() for h in views]
    shared = (exp[0] * views[0] + exp[1] * views[1]) / (exp[0] + exp[1])
    fused = shared
    for lin, h in zip(model.preference, views, strict=True):
        fused = fused + sigmoid(affine(lin, content)) * (h - shared)
    fused = fused / 3
    return content[:6], fused[:6], content[6:], fused[6:]


def expected_of(model: MGCN, data: HeteroData) -> tuple[Tensor, Tensor]:
    content_user, fused_user, content_item, fused_item = expected_views(model, data)
    return content_user + fused_user, content_item + fused_item


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_item_layers', [1, 2])
def test_equals_the_dense_reference(num_layers: int, num_item_layers: int) -> None:
    data = shop()
    model = model_of(data, num_layers=num_layers, num_item_layers=num_item_layers)
    check_embeddings(model, data, expected_of(model, data))


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
def test_the_loss_adds_a_contrast_of_views(negatives: Tensor) -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.3, temperature=0.5).train()
    check_contrast_of_views(model, data, expected_views, negatives)


def test_one_modality() -> None:
    data = shop()
    model = model_of(data, in_channels={'text': 4})
    content_user, fused_user, content_item, fused_item = model.embed(data, None, None)[2:]
    walk = bipartite_normalized(interaction_matrix(data))
    close(fused_user, walk @ fused_item)  # There is nothing to weigh or to prefer.
    close(model(data), (content_user + fused_user, content_item + fused_item))


def test_an_item_sends_nothing_of_a_modality_that_it_lacks() -> None:
    data = shop()
    model = model_of(data)
    before = model(data)
    for name, item in (('image', 5), ('image', 6), ('text', 6)):
        send(data, name, item)
    torch.testing.assert_close(model(data), before)
    send(data, 'text', 5)
    assert not torch.allclose(model(data)[1], before[1])


def test_the_graphs_are_built_once_and_changes_are_noticed() -> None:
    data = shop()
    model = model_of(data)
    before = model(data)
    pairs = model.graphs(data)
    model(data)
    assert model.graphs(data) is pairs
    data[ITEM, 'similar_image', ITEM].edge_weight *= 2
    close(model(data), expected_of(model, data))
    assert not torch.allclose(model(data)[0], before[0])
    pairs = model.graphs(data)
    model.reset_parameters()
    assert model.graphs(data) is not pairs
