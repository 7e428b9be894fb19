from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import BPRLoss, CLCRec, SampledSoftmaxLoss
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.content import (
    ITEMS,
    NEGATIVES,
    USERS,
    WARM,
    bpr,
    check_gradients,
    features_of,
    has_features,
)
from tests.nn.models.shops import COLD, NUM_ITEMS, small_shop


def model_of(data: HeteroData, **kwargs: Any) -> CLCRec:
    torch.manual_seed(0)
    return CLCRec.from_data(data, **{'embedding_dim': 4, 'hidden_dim': 5, **kwargs}).double()


def encoded(model: CLCRec, data: HeteroData) -> Tensor:
    """f, one item at a time."""
    first, _, last = model.encoder
    assert isinstance(first, Linear)
    assert isinstance(last, Linear)
    rows = []
    for item, x in enumerate(features_of(data)):
        hidden = first.weight @ x + first.bias
        hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
        row = last.weight @ hidden + last.bias
        rows.append(row if has_features(data, item) else 0 * row)
    return torch.stack(rows)


def expected_items(model: CLCRec, data: HeteroData) -> Tensor:
    f = encoded(model, data)
    rows = [f[i] if i in COLD else model.item_embedding.weight[i] for i in range(NUM_ITEMS)]
    return torch.stack(rows)


def expected_contrast(model: CLCRec, data: HeteroData, negatives: list[list[int]]) -> Tensor:
    """The second contrast, one positive at a time; what has no features is left out."""
    f, terms = encoded(model, data), []
    for item, others in zip(ITEMS.tolist(), negatives, strict=True):
        if has_features(data, item):
            used = [item, *(n for n in others if has_features(data, n))]
            e = model.item_embedding.weight[item]
            cosine = [e @ f[j] / (e.norm() * f[j].norm()) / model.temperature for j in used]
            total = torch.stack(cosine).exp().sum()
            terms.append(-torch.log(cosine[0].exp() / total))
    return torch.stack(terms).sum() / len(terms)


def test_embeddings_and_gradients_equal_the_formula() -> None:
    data = small_shop()
    model = model_of(data).eval()
    z_user, z_item = model(data)
    expected = expected_items(model, data)
    torch.testing.assert_close(z_item, expected)
    assert torch.equal(z_user, model.user_embedding.weight)
    parameters = [model.item_embedding.weight, *model.encoder.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(z_item.pow(3).sum(), parameters),
        torch.autograd.grad(expected.pow(3).sum(), parameters),
    )


@pytest.mark.parametrize(
    'negatives', [[[4], [5], [7], [6]], [[4, 6], [5, 0], [7, 1], [6, 8]], [[4, 6, 7]]]
)
def test_the_loss_and_its_gradients_equal_the_formula(negatives: list[list[int]]) -> None:
    data = small_shop()
    model = model_of(data, contrast_weight=0.7, temperature=0.5).eval()
    ids = torch.tensor(negatives)
    each = negatives * 4 if len(negatives) == 1 else negatives
    loss = model.loss(data, USERS, ITEMS, ids, BPRLoss(0.0))
    z_user, z_item = model.user_embedding.weight, expected_items(model, data)
    columns = [
        bpr(z_user, z_item, USERS, ITEMS, torch.tensor(column))
        for column in zip(*each, strict=True)
    ]
    expected = torch.stack(columns).mean() + 0.7 * expected_contrast(model, data, each)
    check_gradients(model, loss, expected)


def test_in_training_a_share_is_replaced() -> None:
    data = small_shop()
    for share, of_features in ((0.0, COLD), (1.0, [i for i in range(NUM_ITEMS) if i != 6])):
        model = model_of(data, item_dropout=share).train()
        f = encoded(model, data)
        expected = [f[i] if i in of_features else model.item_embedding.weight[i] for i in range(9)]
        torch.testing.assert_close(model(data)[1], torch.stack(expected))
    model = model_of(data, item_dropout=0.25).train()
    own = model.item_embedding.weight[WARM]
    replaced = [model(data)[1][WARM].ne(own).any(dim=1) for _ in range(400)]
    share_of = torch.stack(replaced).double().mean(dim=0)
    assert share_of[6] == 0  # It has no features.
    assert share_of[:6].sub(0.25).abs().max() < 0.1
    assert not model.eval()(data)[1][WARM].ne(own).any()


def test_cold_items_read_no_id_embedding() -> None:
    data = small_shop()
    model = model_of(data)
    for mode in (True, False):
        model.train(mode)
        torch.manual_seed(1)
        _, before = model(data)
        torch.manual_seed(1)
        with torch.no_grad():
            model.item_embedding.weight[COLD] += 1.0
        assert torch.equal(model(data)[1], before)


def test_an_item_with_nothing_scores_zero() -> None:
    data = small_shop()
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :2]  # Item 6 is cold now.
    assert not model_of(data).eval()(data)[1][6].any()


def test_the_loss_of_the_paper() -> None:
    data = small_shop()
    model = model_of(data).train()
    loss_fn = SampledSoftmaxLoss(temperature=2.0, normalize=False, in_batch=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = model.loss(data, USERS, ITEMS, NEGATIVES, loss_fn)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_data_that_does_not_fit_is_refused() -> None:
    data = small_shop()
    model = model_of(data)
    data[ITEM].x_image = data[ITEM].x_image[:, :3]
    with pytest.raises(ValueError, match="'data' has 3 channels for 'image'"):
        model(data)
