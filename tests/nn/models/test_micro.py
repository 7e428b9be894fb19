from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import MICRO, BPRLoss
from tests.nn.models.latent import dense_graphs, embeddings, move, neighbors, warm
from tests.nn.models.shops import NUM_ITEMS, small_shop

# Frozen graphs are normalised, and all graphs searched, in float32.
close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)
USERS, ITEMS = torch.tensor([0, 3, 1, 0]), torch.tensor([1, 4, 2, 6])
NEGATIVES = torch.tensor([[3, 7], [0, 1], [3, 3], [4, 8]])


def model_of(data: HeteroData, seed: int = 0, **kwargs: Any) -> MICRO:
    torch.manual_seed(seed)
    kwargs = {'embedding_dim': 5, 'skip_weight': 0.6, 'k': 3, **kwargs}
    model = MICRO.from_data(data, **kwargs).double()
    torch.nn.init.normal_(model.query.weight)
    return model


def views_of(
    model: MICRO, data: HeteroData, chosen: Sequence[Tensor] | None = None
) -> tuple[list[Tensor], Tensor]:
    """Return the item part by each modality, and what they merge to."""
    views = []
    for matrix in dense_graphs(model, data, chosen):
        h = warm(data) * model.light_gcn.item_embedding.weight
        for _ in range(model.num_item_layers):
            h = matrix @ h
        views.append(h)
    merged = []
    for i in range(NUM_ITEMS):
        hidden = [torch.tanh(model.lin.weight @ view[i] + model.lin.bias) for view in views]
        exp = [(model.query.weight[0] @ row).exp() for row in hidden]
        merged.append(exp[0] / sum(exp) * views[0][i] + exp[1] / sum(exp) * views[1][i])
    return views, torch.stack(merged)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    lengths = a.norm() * b.norm()
    return a @ b / lengths if float(lengths.detach()) > 0 else torch.zeros((), dtype=a.dtype)


def contrast_of(views: Sequence[Tensor], h: Tensor, items: list[int], tau: float) -> Tensor:
    total = torch.zeros((), dtype=h.dtype)
    for view in views:
        for i in items:
            scores = torch.stack([(cosine(view[i], h[j]) / tau).exp() for j in items])
            total = total - torch.log(scores[items.index(i)] / scores.sum()) / len(items)
    return total


def expected_loss_of(model: MICRO, data: HeteroData) -> Tensor:
    views, h = views_of(model, data)
    z_user, z_item = embeddings(model, data, h)
    ranking = torch.stack(
        [
            softplus(z_user[u] @ z_item[n] - z_user[u] @ z_item[i])
            for u, i, row in zip(USERS, ITEMS, NEGATIVES, strict=True)
            for n in row
        ]
    ).mean()
    batch = sorted({*ITEMS.tolist(), *NEGATIVES.flatten().tolist()})
    return ranking + model.contrast_weight * contrast_of(views, h, batch, model.temperature)


def check_grads(model: MICRO, value: Tensor, expected: Tensor) -> None:
    parameters = dict(model.named_parameters())
    grads, exact = (torch.autograd.grad(v, list(parameters.values())) for v in (value, expected))
    for name, grad, other in zip(parameters, grads, exact, strict=True):
        assert grad.ne(0).any(), name
        torch.testing.assert_close(grad, other, rtol=1e-4, atol=1e-5)


def total(z_user: Tensor, z_item: Tensor) -> Tensor:
    return (z_user @ z_item.t()).square().sum() + z_item.pow(3).sum()


@pytest.mark.parametrize('num_item_layers', [1, 2, 3])
@pytest.mark.parametrize('skip_weight', [0.0, 0.6, 1.0])
def test_equals_the_dense_reference(skip_weight: float, num_item_layers: int) -> None:
    data = small_shop()
    model = model_of(data, skip_weight=skip_weight, num_item_layers=num_item_layers)
    out, expected = model(data), embeddings(model, data, views_of(model, data)[1])
    close(out, expected)
    check_grads(model, total(*out), total(*expected))


@pytest.mark.parametrize(('temperature', 'contrast_weight'), [(0.5, 0.03), (0.2, 2.0)])
@pytest.mark.parametrize('skip_weight', [0.6, 1.0])
def test_loss_equals_the_dense_reference(
    skip_weight: float, temperature: float, contrast_weight: float
) -> None:
    data = small_shop()
    options: dict[str, Any] = {'temperature': temperature, 'contrast_weight': contrast_weight}
    model = model_of(data, skip_weight=skip_weight, **options)
    loss = model.loss(data, USERS, ITEMS, NEGATIVES, BPRLoss(0.0))
    expected = expected_loss_of(model, data)
    close(loss, expected)
    check_grads(model, loss, expected)


def test_without_contrast_the_loss_is_that_of_every_model() -> None:
    data = small_shop()
    model = model_of(data, contrast_weight=0.0)
    z_user, z_item = model(data)
    expected = BPRLoss()(z_user[USERS], z_item[ITEMS], z_item[NEGATIVES])
    torch.testing.assert_close(model.loss(data, USERS, ITEMS, NEGATIVES, BPRLoss()), expected)


def test_repeated_items_count_once_in_the_contrast() -> None:
    data = small_shop()
    model = model_of(data, contrast_weight=1.0)

    def contrast(negatives: Tensor) -> Tensor:
        ranking = BPRLoss()(*model(data, USERS, ITEMS), model(data, None, negatives)[1])
        return model.loss(data, USERS, ITEMS, negatives, BPRLoss()) - ranking

    once, often = torch.tensor([[0], [0], [3], [3]]), torch.tensor([[0, 3], [3, 0], [0, 1], [1, 0]])
    torch.testing.assert_close(contrast(once), contrast(often))
    assert not torch.isclose(contrast(once), contrast(NEGATIVES))


def test_the_loss_is_of_the_rebuilt_graphs() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=0.0, k=2)
    chosen = neighbors(model, data)
    model.start_epoch(data, 0)
    move(model.graphs)
    close(model(data), embeddings(model, data, views_of(model, data, chosen)[1]))
    assert not torch.allclose(model(data)[1], embeddings(model, data, views_of(model, data)[1])[1])
    model.start_epoch(data, 1)
    close(model(data), embeddings(model, data, views_of(model, data)[1]))


def test_an_item_that_one_modality_misses_is_merged_from_the_other() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=1.0)
    views, _ = views_of(model, data)
    assert not views[0][5].any()
    z_item = model(data)[1][5] - model.light_gcn(data)[1][5]
    close(z_item, views[1][5] / views[1][5].norm())


def test_wrong_ids_are_refused_by_the_loss() -> None:
    data = small_shop()
    model = model_of(data)
    with pytest.raises(ValueError, match="'users' must hold user ids"):
        model.loss(data, USERS + 5, ITEMS, NEGATIVES, BPRLoss())
    with pytest.raises(ValueError, match="'items' must hold item ids"):
        model.loss(data, USERS, ITEMS, NEGATIVES + 5, BPRLoss())
