from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import LATTICE, SoftEdgeFusion
from pyg_mmgef.schema import ITEM
from tests.nn.models.latent import dense_graphs, embeddings, latent_graphs, move, neighbors, warm
from tests.nn.models.shops import small_shop

# Frozen graphs are normalised, and all graphs searched, in float32.
close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)


def attention_of(model: LATTICE) -> SoftEdgeFusion:
    assert model.item_encoder.attention is not None
    return model.item_encoder.attention


def model_of(data: HeteroData, seed: int = 0, **kwargs: Any) -> LATTICE:
    """A model in double precision that doesn't weigh all modalities alike."""
    torch.manual_seed(seed)
    kwargs = {'embedding_dim': 5, 'skip_weight': 0.6, 'k': 3, **kwargs}
    model = LATTICE.from_data(data, **kwargs).double()
    assert attention_of(model).logit is not None
    torch.nn.init.normal_(attention_of(model).logit)
    return model


def expected_of(
    model: LATTICE, data: HeteroData, chosen: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    assert attention_of(model).logit is not None
    weight = attention_of(model).logit.exp() / attention_of(model).logit.exp().sum()
    image, text = dense_graphs(model, data, chosen)
    merged = weight[0] * image + weight[1] * text
    h = warm(data) * model.light_gcn.item_embedding.weight
    for _ in range(model.item_encoder.num_layers):
        h = merged @ h
    return embeddings(model, data, h)


def check(model: LATTICE, data: HeteroData, chosen: Sequence[Tensor] | None = None) -> None:
    """Compare embeddings, and the gradient of every parameter, with the dense model."""
    out, expected = model(data), expected_of(model, data, chosen)
    close(out, expected)
    parameters = dict(model.named_parameters())
    grads, exact = (
        torch.autograd.grad(
            (z_user @ z_item.t()).square().sum() + z_item.pow(3).sum(), list(parameters.values())
        )
        for z_user, z_item in (out, expected)
    )
    for name, grad, other in zip(parameters, grads, exact, strict=True):
        assert grad.ne(0).any(), name
        torch.testing.assert_close(grad, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('num_item_layers', [1, 2, 3])
@pytest.mark.parametrize('skip_weight', [0.0, 0.6, 1.0])
def test_equals_the_dense_reference(skip_weight: float, num_item_layers: int) -> None:
    data = small_shop()
    model = model_of(data, skip_weight=skip_weight, num_item_layers=num_item_layers)
    assert len(latent_graphs(model).lins) == (0 if skip_weight == 1 else 2)
    check(model, data)


@pytest.mark.parametrize(('num_layers', 'k'), [(0, 1), (1, 2), (3, 100)])
def test_other_sizes(num_layers: int, k: int) -> None:
    data = small_shop()
    check(model_of(data, num_layers=num_layers, k=k, skip_weight=0.3), data)


def test_neighbors_stay_while_their_weights_follow() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=0.0, rebuild_every=2, k=2)
    for epoch in range(5):
        move(latent_graphs(model))
        if epoch % 2 == 0:
            chosen = neighbors(model, data)
        model.start_epoch(data, epoch)
        check(model, data, chosen)
        if epoch % 2 == 1:
            assert not torch.allclose(model(data)[1], expected_of(model, data)[1], atol=1e-3)


def test_weights_of_the_modalities() -> None:
    data = small_shop()
    model = LATTICE.from_data(data, embedding_dim=5, k=3, skip_weight=1.0).double()
    assert attention_of(model).logit is not None
    torch.testing.assert_close(attention_of(model).node_alpha(), torch.full((1, 2), 0.5).double())
    with torch.no_grad():
        attention_of(model).logit[0] = -100.0
    z_item = model(data)[1]
    del data[ITEM].x_image, data[ITEM].has_image
    alone = LATTICE.from_data(data, embedding_dim=5, k=3, skip_weight=1.0).double()
    alone.light_gcn.load_state_dict(model.light_gcn.state_dict())
    close(alone(data)[1], z_item)


@pytest.mark.parametrize('num_item_layers', [1, 2])
def test_some_items_alone(num_item_layers: int) -> None:
    data = small_shop()
    model = model_of(data, num_item_layers=num_item_layers)
    items = torch.tensor([8, 1, 1, 3])
    out, every = model(data, None, items)[1], expected_of(model, data)[1][items]
    close(out, every)
    grads, exact = (
        torch.autograd.grad(z.pow(3).sum(), list(latent_graphs(model).parameters()))
        for z in (out, every)
    )
    torch.testing.assert_close(grads, exact, rtol=1e-4, atol=1e-5)


def test_gradient_of_the_projections_by_differences() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=0.2)
    weight, bias = (parameter.detach() for parameter in latent_graphs(model).lins[0].parameters())
    model.start_epoch(data, 0)

    def item_part(weight: Tensor, bias: Tensor) -> Tensor:
        changed = {
            'item_encoder.graphs.lins.0.weight': weight,
            'item_encoder.graphs.lins.0.bias': bias,
        }
        out: tuple[Tensor, Tensor] = torch.func.functional_call(model, changed, (data,))
        return out[1]

    inputs = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    assert torch.autograd.gradcheck(item_part, inputs)
