import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import SMORE, BPRLoss
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.shops import COLD, interaction_matrix, small_shop
from tests.references import bipartite_normalized, dense_adjacency

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)  # Weights are made in float32.

LACKS = {'image': (5, 6), 'text': (6,)}
USERS, ITEMS = torch.tensor([0, 4, 3, 2]), torch.tensor([6, 5, 4, 3])
NEGATIVES = {
    'one': torch.tensor([1, 2, 5, 7]),
    'several': torch.tensor([[1, 2], [5, 0], [6, 8], [7, 7]]),
    'shared': torch.tensor([[8, 5, 2]]),
}


def shop() -> HeteroData:
    return small_shop(('similar', 'similar_image', 'similar_text'))


def model_of(data: HeteroData, **kwargs: Any) -> SMORE:
    torch.manual_seed(0)
    model = SMORE.from_data(data, **{'embedding_dim': 4, **kwargs}).double()
    model.content_map = None  # Cold items have the embeddings of the paper.
    return model


def affine(lin: Any, x: Tensor) -> Tensor:
    assert isinstance(lin, Linear)
    return x @ lin.weight.t() + (0 if lin.bias is None else lin.bias)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


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
    for name, without in LACKS.items():
        has = torch.tensor([[float(item not in without)] for item in range(9)]).double()
        x = affine(layer_of(model.lin, name), data[ITEM][f'x_{name}'])
        spectra.append((x @ real.t(), x @ imaginary.t()))
        masks.append(has)
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
    graphs = []
    for name in LACKS:
        graph = data[ITEM, f'similar_{name}', ITEM]
        graphs.append(dense_adjacency(graph.edge_index, graph.edge_weight, 9, 9))
    return [*graphs, torch.maximum(*graphs)]


def expected_views(model: SMORE, data: HeteroData) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Content and side embeddings of the users, then of the items."""
    walk = bipartite_normalized(interaction_matrix(data))
    e_user, e_item = model.light_gcn.user_embedding.weight, model.light_gcn.item_embedding.weight
    users, items = [e_user], [e_item]
    for _ in range(model.light_gcn.num_layers):
        users, items = [*users, walk @ items[-1]], [*items, walk.t() @ users[-1]]
    is_warm = (interaction_matrix(data).sum(0) > 0).double()[:, None]
    content = torch.cat([torch.stack(users).mean(0), is_warm * torch.stack(items).mean(0)])
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


def expected_contrast(side: Tensor, content: Tensor, temperature: float) -> Tensor:
    """The mean of -log of the share that the own row has among all rows; zeros have cosine 0."""
    total = torch.zeros(()).double()
    for row in range(side.size(0)):
        cosines = [side[row] @ c / (side[row].norm() * c.norm()).clamp(min=1e-12) for c in content]
        shares = torch.stack([(cosine / temperature).exp() for cosine in cosines])
        total = total - torch.log(shares[row] / shares.sum())
    return total / side.size(0)


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
    out, expected = model(data), expected_of(model, data)
    close(out, expected)
    parameters = list(model.parameters())
    grads, exact = (
        torch.autograd.grad(z_user.pow(3).sum() + z_item.square().sum(), parameters)
        for z_user, z_item in (out, expected)
    )
    close(grads, exact)
    users, items = torch.tensor([2, 2, 0]), torch.tensor([[8, 1, 1, 3, 6]])
    close(model(data, users, items), (expected[0][users], expected[1][items]))


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
def test_the_loss_adds_a_contrast_of_views(negatives: Tensor) -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.3, temperature=0.5).train()
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.01))
    z_user, z_item = expected_of(model, data)
    expected = BPRLoss(0.01)(z_user[USERS], z_item[ITEMS], z_item[negatives])
    content_user, side_user, content_item, side_item = expected_views(model, data)
    for side, content, ids in (
        (side_user, content_user, USERS),
        (side_item, content_item, ITEMS),
    ):
        expected = expected + 0.3 * expected_contrast(side[ids], content[ids], 0.5)
    close(loss, expected)
    parameters = list(model.parameters())
    close(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters))


def test_without_contrast_it_is_the_ranking_loss() -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.0)
    batch = USERS, ITEMS, NEGATIVES['several']
    close(model.loss(data, *batch, BPRLoss()), BPRLoss()(*model.triplets(data, *batch)))


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


def test_a_cold_item_has_what_its_neighbours_send() -> None:
    data = shop()
    model = model_of(data).eval()
    before = model(data)
    model.light_gcn.item_embedding.weight.data[COLD] += 10.0
    torch.testing.assert_close(model(data), before)
    assert before[1][COLD].ne(0).any(dim=1).all()
    for name in LACKS:
        graph = data[ITEM, f'similar_{name}', ITEM]
        graph.edge_weight = torch.zeros_like(graph.edge_weight)
    assert torch.equal(model(data)[1][COLD], torch.zeros(2, 4).double())


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


def send(data: HeteroData, name: str, item: int) -> None:
    """Make an item a neighbour of item 0."""
    graph = data[ITEM, f'similar_{name}', ITEM]
    is_new = ~(graph.edge_index == torch.tensor([[item], [0]])).all(dim=0)
    graph.edge_index = torch.cat([graph.edge_index[:, is_new], torch.tensor([[item], [0]])], dim=1)
    graph.edge_weight = torch.cat([graph.edge_weight[is_new], torch.ones(1).double()])


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


def test_reset_parameters_draws_all_anew() -> None:
    model = model_of(shop())
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.reset_parameters()
    assert not any(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_half_precision() -> None:
    data = shop()
    model = model_of(data)
    expected = model(data)
    out = model.to(torch.bfloat16)(data)
    assert {z.dtype for z in out} == {torch.bfloat16}
    for z, exact in zip(out, expected, strict=True):
        torch.testing.assert_close(z.double(), exact, rtol=0.1, atol=0.05)


def test_no_interactions() -> None:
    data = shop()
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    model = model_of(data, num_layers=1)
    z_user, z_item = model(data)
    assert torch.equal(z_user, model.light_gcn.user_embedding.weight / 2)
    assert torch.equal(z_item, torch.zeros(9, 4).double())


def test_what_is_missing_from_the_data_is_named() -> None:
    with pytest.raises(ValueError, match=r"no item graph \('item', 'similar_text', 'item'\)"):
        SMORE.from_data(small_shop(('similar', 'similar_image')))
    data = shop()
    model = model_of(data)
    del data[ITEM].x_text
    with pytest.raises(ValueError, match=r"features \['text'\]"):
        model(data)
    del data[ITEM].x_image
    with pytest.raises(ValueError, match='no item features, which SMORE needs'):
        SMORE.from_data(data)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'in_channels': {}}, "'in_channels' is empty"),
        ({'num_item_layers': 0}, "'num_item_layers' must be a positive integer"),
        ({'contrast_weight': -1.0}, "'contrast_weight' must be finite and not negative"),
        ({'temperature': 0.0}, "'temperature' must be positive"),
        ({'dropout': 1.0}, r"'dropout' must lie in \[0, 1\)"),
        ({'num_layers': -1}, "'num_layers'"),
        ({'embedding_dim': 0}, "'embedding_dim'"),
    ],
)
def test_constructor_errors(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SMORE(6, 9, **{'in_channels': {'image': 4}, **kwargs})


def test_repr() -> None:
    assert repr(SMORE(6, 9, {'image': 4})) == "SMORE(6, 9, {'image': 4}, embedding_dim=64)"
