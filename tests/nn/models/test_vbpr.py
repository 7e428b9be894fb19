from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import VBPR, BPRLoss
from pyg_mmgef.schema import INTERACTS, ITEM, item_modalities
from tests.nn.models.shops import COLD, NUM_ITEMS, NUM_USERS, interacting, small_shop

WARM = [item for item in range(NUM_ITEMS) if item not in COLD]


def shop_of_two_widths() -> HeteroData:
    """The small shop with wider texts, so that no modality can stand in for another."""
    data = small_shop()
    data[ITEM].x_text = torch.cat([data[ITEM].x_text, 3 * data[ITEM].x_text[:, :2]], dim=1)
    return data


def model_of(data: HeteroData, seed: int = 0, **kwargs: Any) -> VBPR:
    """A model in double precision whose biases aren't at their start, zero."""
    torch.manual_seed(seed)
    model = VBPR.from_data(data, **{'embedding_dim': 4, 'feature_dim': 3, **kwargs}).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def features_of(data: HeteroData) -> Tensor:
    """f: the unit vectors of the modalities that an item has, side by side."""
    x, has = item_modalities(data)
    rows = []
    for item in range(NUM_ITEMS):
        parts = []
        for name in x:
            row = x[name][item]
            present = bool(row.any()) and (name not in has or bool(has[name][item]))
            parts.append(row / row.pow(2).sum().sqrt() if present else 0 * row)
        rows.append(torch.cat(parts))
    return torch.stack(rows).double()


def expected_scores(model: VBPR, data: HeteroData) -> Tensor:
    """The formula, one user and one item at a time."""
    f = features_of(data)
    taken = set(data[INTERACTS].edge_index[1].tolist())
    rows = []
    for user in range(NUM_USERS):
        row = []
        for item in range(NUM_ITEMS):
            content = model.lin.weight @ f[item]
            score = (model.user_content.weight[user] * content).sum()
            if item in taken:
                score = (
                    score
                    + (model.user_embedding.weight[user] * model.item_embedding.weight[item]).sum()
                )
            if model.item_bias is not None and model.content_bias is not None:
                score = score + (model.content_bias.weight[0] * f[item]).sum()
                if item in taken:
                    score = score + model.item_bias.weight[item, 0]
            row.append(score)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize('bias', [True, False])
def test_scores_and_gradients_equal_the_formula(bias: bool) -> None:
    data = shop_of_two_widths()
    model = model_of(data, bias=bias)
    z_user, z_item = model(data)
    assert z_user.size(1) == z_item.size(1) == 4 + 3 + bias
    out, expected = z_user @ z_item.t(), expected_scores(model, data)
    torch.testing.assert_close(out, expected)
    parameters = list(model.parameters())
    assert len(parameters) == (6 if bias else 4)
    grads, exact = (torch.autograd.grad(x.pow(3).sum(), parameters) for x in (out, expected))
    torch.testing.assert_close(grads, exact)


def test_gradients_of_a_batch() -> None:
    data = shop_of_two_widths()
    model = model_of(data)
    users, items, negatives = torch.tensor([[0, 1, 8], [2, 3, 6], [0, 6, 5], [4, 5, 7]]).t()
    loss = model.loss(data, users, items, negatives, BPRLoss(0.0))
    score = expected_scores(model, data)
    expected = torch.log(1 + torch.exp(score[users, negatives] - score[users, items])).mean()
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    )


def test_cold_items_have_content_alone() -> None:
    data = shop_of_two_widths()
    model = model_of(data)
    _, before = model(data)
    model.item_embedding.weight.data += 1.0
    assert model.item_bias is not None
    model.item_bias.weight.data += 1.0
    _, after = model(data)
    assert torch.equal(after[COLD], before[COLD])
    assert after[COLD].ne(0).any(dim=1).all()
    assert not torch.isclose(after[WARM], before[WARM]).all(dim=1).any()


def test_an_item_with_nothing_scores_zero() -> None:
    data = shop_of_two_widths()
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :2]  # Item 6 is cold now.
    _, z_item = model_of(data)(data)
    assert not z_item[6].any()


def test_a_missing_modality_leaves_the_others() -> None:
    data = shop_of_two_widths()
    model = model_of(data)
    _, z_item = model(data)
    data[ITEM].x_text = data[ITEM].x_text.clone()
    data[ITEM].x_text[5] = 0.0  # Item 5 lacks its image already.
    _, without = model(data)
    assert not without[5, 4:7].any()
    assert torch.equal(without[:5], z_item[:5])


def test_scale_of_a_modality_does_not_matter() -> None:
    data = shop_of_two_widths()
    model = model_of(data)
    before = model(data)
    data[ITEM].x_text = 100 * data[ITEM].x_text
    torch.testing.assert_close(model(data), before)


def test_features_are_fused_once_and_changes_noticed() -> None:
    data = small_shop()
    model = model_of(data)
    first = model._features(data)
    model(data)
    assert model._features(data) is first
    data[ITEM].x_text[0] *= -1.0
    assert not torch.equal(model._features(data)[0], first[0])
    before = model._features(data)
    data[ITEM].has_image = torch.zeros(NUM_ITEMS, dtype=torch.bool)
    assert not model._features(data)[:, :4].any()
    assert before[:, :4].any()
    edges = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edges, torch.tensor([[5], [8]])], dim=1)
    assert torch.equal(model(data)[1][8, :4], model.item_embedding.weight[8])


def test_features_may_be_learned() -> None:
    data = small_shop()
    data[ITEM].x_text.requires_grad_()
    model = model_of(data)
    for _ in range(2):  # No graph of an earlier step is kept.
        model(data)[1].pow(2).sum().backward()
    assert data[ITEM].x_text.grad is not None
    assert data[ITEM].x_text.grad[0].ne(0).any()


def test_single_precision_features() -> None:
    data = shop_of_two_widths()
    model = model_of(data)
    before = model(data)
    for name in ('x_image', 'x_text'):
        data[ITEM][name] = data[ITEM][name].float()
    after = model(data)
    assert after[1].dtype == torch.double
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_one_modality_without_a_name() -> None:
    data = interacting(torch.tensor([[0, 1], [0, 2]]), 2, 3)
    data[ITEM].x = torch.randn(3, 5)
    assert VBPR.from_data(data, embedding_dim=4, feature_dim=3)(data)[1].shape == (3, 8)


def test_the_start() -> None:
    torch.manual_seed(0)
    model = VBPR(200, 90, in_channels={'image': 60}, embedding_dim=50, feature_dim=40)
    assert model.item_bias is not None
    assert model.content_bias is not None
    assert not model.item_bias.weight.any()
    assert not model.content_bias.weight.any()
    for layer in (model.user_embedding, model.item_embedding, model.user_content, model.lin):
        weight = layer.weight.detach()
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.9 * bound < float(weight.abs().max()) <= bound


def test_data_that_does_not_fit_is_refused() -> None:
    data = small_shop()
    model = model_of(data)
    data[ITEM].x_image = data[ITEM].x_image[:, :3]
    with pytest.raises(ValueError, match="'x' has 3 channels for 'image'"):
        model(data)
    del data[ITEM].x_image
    with pytest.raises(ValueError, match=r"lacks the modalities \['image'\]"):
        model(data)
