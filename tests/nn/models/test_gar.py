from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import GAR, BPRLoss
from tests.nn.models.content import (
    ITEMS,
    NEGATIVES,
    USERS,
    bpr,
    features_of,
    has_features,
    inputs_of,
    moved,
    through,
)
from tests.nn.models.shops import COLD, NUM_ITEMS, small_shop


def model_of(data: HeteroData, **kwargs: Any) -> GAR:
    return moved(GAR, data, hidden_dim=5, **kwargs)


def made_of(model: GAR, data: HeteroData, training: bool = False) -> Tensor:
    """t, zero without features."""
    out = through(model.generator, features_of(data), training)
    return torch.stack([out[i] if has_features(data, i) else 0 * out[i] for i in range(NUM_ITEMS)])


def expected_embeddings(
    model: GAR, data: HeteroData, training: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The formula for users and items, and g(t)."""
    (p, q), t = inputs_of(data), made_of(model, data, training).detach()
    rows = [t[i] if i in COLD else q[i] for i in range(NUM_ITEMS)]
    both = through(model.item_tower, torch.stack([*rows, *t]), training)
    return through(model.user_tower, p, training), both[:NUM_ITEMS], both[NUM_ITEMS:]


@pytest.mark.parametrize('training', [True, False])
def test_embeddings_equal_the_formula(training: bool) -> None:
    data = small_shop()
    model = model_of(data).train(training)
    expected = expected_embeddings(model, data, training)
    torch.testing.assert_close(model(data), expected[:2])


def neg_log_sigmoid(x: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(-x))


def test_the_loss_and_the_gradients_of_both_sides_equal_the_formula() -> None:
    data = small_shop()
    model = model_of(data, fake_weight=0.7, similarity_weight=0.2).eval()
    loss = model.loss(data, USERS, ITEMS, NEGATIVES, BPRLoss(0.0))
    (_, q), t = inputs_of(data), made_of(model, data)
    z_user, z_item, z_made = expected_embeddings(model, data)
    fooling = through(model.item_tower, t, False)
    recommender, generator = bpr(z_user, z_item, USERS, ITEMS, NEGATIVES), torch.zeros(())
    for user, item in ((0, 1), (2, 3), (4, 5)):  # Item 6 has no features.
        real, made = z_user[user] @ z_item[item], z_user[user] @ z_made[item]
        recommender = recommender + 0.7 * neg_log_sigmoid(real - made) / 3
        won = neg_log_sigmoid(z_user[user] @ fooling[item] - real)
        generator = generator + (0.8 * won + 0.2 * (t[item] - q[item]).abs().sum()) / 3
    torch.testing.assert_close(loss, recommender + generator)
    sides = {
        recommender: [*model.user_tower.parameters(), *model.item_tower.parameters()],
        generator: list(model.generator.parameters()),
    }
    for side, parameters in sides.items():
        torch.testing.assert_close(
            torch.autograd.grad(loss, parameters, retain_graph=True),
            torch.autograd.grad(side, parameters, retain_graph=True),
        )


def test_the_generator_learns_the_embeddings() -> None:
    data = small_shop()
    model = model_of(data, similarity_weight=1.0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        model.loss(data, USERS, ITEMS, NEGATIVES, BPRLoss()).backward()
        optimizer.step()
    q, counted = inputs_of(data)[1], [1, 3, 5]
    error = (made_of(model.eval(), data) - q)[counted].abs().mean()
    assert error < 0.3 * q[counted].abs().mean()


def test_two_losses_before_one_backward() -> None:
    data = small_shop()
    model = model_of(data).train()
    losses = [model.loss(data, USERS, ITEMS, NEGATIVES, BPRLoss()) for _ in range(2)]
    torch.stack(losses).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
