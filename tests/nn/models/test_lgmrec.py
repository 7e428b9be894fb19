from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import BPRLoss, LGMRec
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.shops import COLD, interaction_matrix, small_shop
from tests.references import bipartite_normalized

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)  # Weights are made in float32.

LACKS = {'image': (5, 6), 'text': (6,)}
USERS, ITEMS = torch.tensor([0, 4, 3, 4]), torch.tensor([6, 5, 4, 5])
NEGATIVES = {
    'one': torch.tensor([1, 2, 5, 7]),
    'several': torch.tensor([[1, 2], [5, 0], [6, 8], [7, 7]]),
    'shared': torch.tensor([[8, 5, 2]]),
}
Expected = tuple[Tensor, Tensor, list[Tensor], list[Tensor]]


def model_of(data: HeteroData, **kwargs: Any) -> LGMRec:
    torch.manual_seed(0)
    options = {'embedding_dim': 4, 'num_hyperedges': 3, **kwargs}
    model = LGMRec.from_data(data, **options).double()
    model.content_map = None  # Cold items have the embeddings of the paper.
    return model


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)  # A norm of 0 has the gradient 0.


def assigned(model: LGMRec, a: Tensor) -> Tensor:
    """A softmax written out, of logits with Gumbel noise in training."""
    if model.training:
        a = a - torch.empty_like(a).exponential_().log()
    exp = (a / model.temperature).exp()
    return exp / exp.sum(dim=1, keepdim=True)


def expected_of(model: LGMRec, data: HeteroData) -> Expected:
    """z of users and items, then q of users and of items for each modality."""
    counts = interaction_matrix(data)
    walk, dropout = bipartite_normalized(counts), model.dropout.p
    users, items = [model.light_gcn.user_embedding.weight], [model.light_gcn.item_embedding.weight]
    for _ in range(model.light_gcn.num_layers):
        users, items = [*users, walk @ items[-1]], [*items, walk.t() @ users[-1]]
    is_warm = (counts.sum(0) > 0).double()[:, None]
    z_user, c_item = torch.stack(users).mean(0), is_warm * torch.stack(items).mean(0)
    z_item, q_users, q_items = c_item, [], []
    for name, without in LACKS.items():
        has = torch.tensor([[float(item not in without)] for item in range(9)]).double()
        x = has * data[ITEM][f'x_{name}']
        h_item = x @ layer_of(model.lin, name).weight.t()
        h_user = torch.stack([row @ h_item / row.sum().clamp(min=1) for row in counts])
        for _ in range(model.num_modality_layers):
            h_user, h_item = walk @ h_item, walk.t() @ h_user
        z_user, z_item = z_user + unit(h_user), z_item + unit(h_item)
        a_item = x @ layer_of(model.assign, name).weight.t()
        b_user, b_item = assigned(model, counts @ a_item), has * assigned(model, a_item)
        b_user = F.dropout(b_user, dropout, model.training)
        b_item = F.dropout(b_item, dropout, model.training)
        q_item = c_item
        for _ in range(model.num_hyper_layers):
            hyperedges = sum(torch.outer(b_item[i], q_item[i]) for i in range(9))
            q_user, q_item = b_user @ hyperedges, b_item @ hyperedges
        q_users.append(q_user)
        q_items.append(q_item)
    z_user = z_user + model.global_weight * unit(q_users[0] + q_users[1])
    z_item = z_item + model.global_weight * unit(q_items[0] + q_items[1])
    return z_user, z_item, q_users, q_items


def expected_contrast(a: Tensor, b: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """The mean over the ids of -log of the share of the own row; zeros have cosine 0."""
    total = torch.zeros(()).double()
    for row in ids.tolist():
        cosines = [a[row] @ other / (a[row].norm() * other.norm()).clamp(min=1e-12) for other in b]
        shares = torch.stack([(cosine / temperature).exp() for cosine in cosines])
        total = total - torch.log(shares[row] / shares.sum())
    return total / ids.numel()


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_modality_layers', [0, 1, 2])
@pytest.mark.parametrize('num_hyper_layers', [1, 2])
def test_equals_the_dense_reference(
    num_layers: int, num_modality_layers: int, num_hyper_layers: int
) -> None:
    data = small_shop()
    model = model_of(
        data,
        num_layers=num_layers,
        num_modality_layers=num_modality_layers,
        num_hyper_layers=num_hyper_layers,
    ).eval()
    out, expected = model(data), expected_of(model, data)[:2]
    close(out, expected)
    parameters = list(model.parameters())
    grads, exact = (
        torch.autograd.grad(z_user.pow(3).sum() + z_item.pow(3).sum(), parameters)
        for z_user, z_item in (out, expected)
    )
    close(grads, exact)
    users, items = torch.tensor([2, 2, 0]), torch.tensor([[8, 1, 1, 3, 6]])
    close(model(data, users, items), (expected[0][users], expected[1][items]))


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
@pytest.mark.parametrize('training', [True, False])
def test_the_loss_adds_a_contrast_of_modalities(negatives: Tensor, training: bool) -> None:
    data = small_shop()
    model = model_of(data, contrast_weight=0.3, temperature=0.5).train(training)
    torch.manual_seed(3)
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.01))
    torch.manual_seed(3)
    z_user, z_item, q_users, q_items = expected_of(model, data)
    expected = BPRLoss(0.01)(z_user[USERS], z_item[ITEMS], z_item[negatives])
    for q, ids in ((q_users, USERS), (q_items, ITEMS)):
        expected = expected + 0.3 * expected_contrast(q[0], q[1], ids, 0.5)
    close(loss, expected)
    parameters = list(model.parameters())
    close(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters))


def test_three_modalities_have_three_pairs() -> None:
    data = small_shop()
    data[ITEM].x_audio = data[ITEM].x_text.flip(0)
    model = model_of(data, contrast_weight=0.3).eval()
    batch = USERS, ITEMS, NEGATIVES['one']
    added = model.loss(data, *batch, BPRLoss()) - BPRLoss()(*model.triplets(data, *batch))
    q = model.embed(data, None, None)[2:]
    expected = [
        expected_contrast(each[a], each[b], ids, 0.2)
        for each, ids in zip(q, (USERS, ITEMS), strict=True)
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    close(added, 0.3 * torch.stack(expected).sum())


@pytest.mark.parametrize('kwargs', [{'contrast_weight': 0.0}, {'in_channels': {'text': 4}}])
def test_without_contrast_it_is_the_ranking_loss(kwargs: dict[str, Any]) -> None:
    data = small_shop()
    model = model_of(data, **kwargs).eval()
    batch = USERS, ITEMS, NEGATIVES['several']
    close(model.loss(data, *batch, BPRLoss()), BPRLoss()(*model.triplets(data, *batch)))


def test_noise_is_of_training_alone() -> None:
    data = small_shop()
    model = model_of(data, dropout=0.0).train()
    assert not torch.equal(model(data)[0], model(data)[0])
    assert torch.equal(model.eval()(data)[0], model(data)[0])


def test_a_cold_item_has_what_hyperedges_send() -> None:
    data = small_shop()
    model = model_of(data).eval()
    before = model(data)
    model.light_gcn.item_embedding.weight.data[COLD] += 10.0
    torch.testing.assert_close(model(data), before)
    close(before[1][COLD].norm(dim=1), torch.full((2,), model.global_weight).double())
    model.global_weight = 0.0
    assert torch.equal(model(data)[1][COLD], torch.zeros(2, 4).double())


def test_repeated_interactions_count_as_often() -> None:
    data = small_shop()
    edge_index = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edge_index, edge_index[:, :3]], dim=1)
    model = model_of(data).eval()
    close(model(data), expected_of(model, data)[:2])


def test_the_graph_is_built_once() -> None:
    data = small_shop()
    model = model_of(data)
    graph = model._histories(data)
    model(data)
    assert model._histories(data) is graph
    model.reset_parameters()
    assert model._histories(data) is not graph


def test_reset_parameters_draws_all_anew() -> None:
    model = model_of(small_shop())
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.reset_parameters()
    assert not any(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_no_interactions() -> None:
    data = small_shop()
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    model = model_of(data, num_layers=1).eval()
    z_user, z_item = model(data)
    assert torch.equal(z_user, model.light_gcn.user_embedding.weight / 2)
    assert torch.equal(z_item, torch.zeros(9, 4).double())


def test_what_is_missing_from_the_data_is_named() -> None:
    data = small_shop()
    model = model_of(data)
    del data[ITEM].x_text
    with pytest.raises(ValueError, match=r"features \['text'\]"):
        model(data)
    del data[ITEM].x_image
    with pytest.raises(ValueError, match='no item features, which LGMRec needs'):
        LGMRec.from_data(data)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'in_channels': {}}, "'in_channels' is empty"),
        ({'num_modality_layers': -1}, "'num_modality_layers' must be an integer"),
        ({'num_hyperedges': 0}, "'num_hyperedges' must be a positive integer"),
        ({'num_hyper_layers': 0}, "'num_hyper_layers' must be a positive integer"),
        ({'global_weight': -1.0}, "'global_weight' must be finite and not negative"),
        ({'contrast_weight': -1.0}, "'contrast_weight' must be finite and not negative"),
        ({'dropout': 1.0}, r"'dropout' must lie in \[0, 1\)"),
        ({'temperature': 0.0}, "'temperature' must be positive"),
        ({'num_layers': -1}, "'num_layers'"),
        ({'embedding_dim': 0}, "'embedding_dim'"),
    ],
)
def test_constructor_errors(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LGMRec(6, 9, **{'in_channels': {'image': 4}, **kwargs})


def test_repr() -> None:
    assert repr(LGMRec(6, 9, {'image': 4})) == "LGMRec(6, 9, {'image': 4}, embedding_dim=64)"
