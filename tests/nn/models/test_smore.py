import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import SMORE
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


def model_of(data: HeteroData, **kwargs: Any) -> SMORE:
    return built(SMORE, data, **kwargs)


def fourier(channels: int) -> tuple[Tensor, Tensor]:
    """The real and the imaginary part of the unitary transform, a matrix each."""
    number = torch.arange(channels).double()
    angle = -2 * math.pi * torch.outer(number, number) / channels
    return angle.cos() / channels**0.5, angle.sin() / channels**0.5


def full_filter(half: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The filter of all frequencies; a real result needs conjugates at mirrored ones."""
    real, imaginary = half.unbind(dim=1)
    frequencies = [min(f, channels - f) for f in range(channels)]
    sign = [float(f < channels - f) - float(f > channels - f) for f in range(channels)]
    sign[0] = 0.0  # At 0, and at half of an even number, an imaginary part has no effect.
    return real[frequencies], torch.tensor(sign).double() * imaginary[frequencies]


def multiplied(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def expected_representations(model: SMORE, data: HeteroData) -> list[tuple[Tensor, Tensor]]:
    """The filtered features of the views, and which items have them; no library's transform."""
    channels = model.light_gcn.embedding_dim
    real, imaginary = fourier(channels)
    spectra, masks = [], []
    for name in LACKS:
        x = affine(layer_of(model.lin, name), data[ITEM][f'x_{name}'])
        spectra.append((x @ real.t(), x @ imaginary.t()))
        masks.append(has_modality(name))
    product = torch.ones(9, channels).double(), torch.zeros(9, channels).double()
    for has, (a, b) in zip(masks, spectra, strict=True):
        product = multiplied(product, (has * a + 1 - has, has * b))
    spectra.append(product)
    masks.append((masks[0] + masks[1]).clamp(max=1))
    out = []
    for half, has, spectrum in zip(model.filter, masks, spectra, strict=True):
        a, b = multiplied(spectrum, full_filter(half, channels))
        out.append((a @ real + b @ imaginary, has))  # By the conjugate, which is the inverse.
    return out


def expected_graphs(data: HeteroData) -> list[Tensor]:
    graphs = [item_matrix(data, f'similar_{name}') for name in LACKS]
    return [*graphs, torch.maximum(*graphs)]


def expected_views(model: SMORE, data: HeteroData) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Content and side embeddings of the users, then of the items."""
    walk = bipartite_normalized(interaction_matrix(data))
    content_user, content_item = of_light_gcn(model.light_gcn, data)
    is_warm = warm(data)
    content = torch.cat([content_user, is_warm * content_item])
    e_item = model.light_gcn.item_embedding.weight
    views = []
    represented = expected_representations(model, data)
    for gate, (r, has), graph in zip(model.gate, represented, expected_graphs(data), strict=True):
        h = has * is_warm * e_item * sigmoid(affine(gate, r))
        for _ in range(model.num_item_layers):
            h = graph @ h
        views.append(torch.cat([walk @ h, h]))
    side = sigmoid(affine(model.preference[2], content)) * views[2]
    for query, lin, h in zip(model.query, list(model.preference)[:2], views[:2], strict=True):
        assert isinstance(query, torch.nn.Sequential)
        exp = affine(query[2], torch.tanh(affine(query[0], views[2]))).exp()
        share = exp / exp.sum(dim=1, keepdim=True)
        side = side + sigmoid(affine(lin, content)) * share * h
    side = side / 3
    return content[:6], side[:6], content[6:], side[6:]


def expected_of(model: SMORE, data: HeteroData) -> tuple[Tensor, Tensor]:
    content_user, side_user, content_item, side_item = expected_views(model, data)
    return content_user + side_user, content_item + side_item


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_item_layers', [1, 2])
@pytest.mark.parametrize('embedding_dim', [4, 5])
def test_equals_the_dense_reference(
    num_layers: int, num_item_layers: int, embedding_dim: int
) -> None:
    data = shop()
    model = model_of(
        data,
        num_layers=num_layers,
        num_item_layers=num_item_layers,
        embedding_dim=embedding_dim,
    )
    check_embeddings(model, data, expected_of(model, data))


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
def test_the_loss_adds_a_contrast_of_views(negatives: Tensor) -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.3, temperature=0.5).train()
    check_contrast_of_views(model, data, expected_views, negatives)


def test_dropout_is_of_training_alone() -> None:
    data = shop()
    model = model_of(data, dropout=0.5)
    expected = expected_of(model, data)
    assert not torch.allclose(model.train()(data)[0], expected[0])
    close(model.eval()(data), expected)


def test_one_modality() -> None:
    data = shop()
    model = model_of(data, in_channels={'text': 4})
    with torch.no_grad():  # The fused view is that of the only modality but for its parameters.
        model.filter[1] = model.filter[0]
        for ours, other in zip(model.gate[1].parameters(), model.gate[0].parameters(), strict=True):
            ours.copy_(other)
    own, fused = model._views(data)
    close(fused, own)


def test_an_item_sends_nothing_where_it_has_no_features() -> None:
    data = shop()
    model = model_of(data)
    before = model(data)
    send(data, 'image', 6)
    send(data, 'text', 6)
    torch.testing.assert_close(model(data), before)
    send(data, 'text', 5)
    assert not torch.allclose(model(data)[1], before[1])
    close(model(data), expected_of(model, data))


def test_the_graphs_are_built_once_and_changes_are_noticed() -> None:
    data = shop()
    model = model_of(data)
    before = model(data)
    pair = model._max_graph(data)
    model(data)
    assert model._max_graph(data) is pair
    data[ITEM, 'similar_image', ITEM].edge_weight *= 2
    close(model(data), expected_of(model, data))
    assert not torch.allclose(model(data)[0], before[0])
    pair = model._max_graph(data)
    model.reset_parameters()
    assert model._max_graph(data) is not pair


def test_half_precision() -> None:
    data = shop()
    model = model_of(data)
    expected = model(data)
    out = model.to(torch.bfloat16)(data)
    assert {z.dtype for z in out} == {torch.bfloat16}
    for z, exact in zip(out, expected, strict=True):
        torch.testing.assert_close(z.double(), exact, rtol=0.1, atol=0.05)
