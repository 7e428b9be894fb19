import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import MF, BPRLoss, LightGCN
from pyg_mmgef.schema import INTERACTS, ITEM, USER
from tests.nn.models.shops import COLD, NUM_ITEMS, small_shop


def model_of(data: HeteroData, seed: int = 0) -> MF:
    torch.manual_seed(seed)
    return MF.from_data(data, embedding_dim=4).double()


def test_embeddings_are_the_parameters() -> None:
    data = small_shop()
    model = model_of(data)
    z_user, z_item = model(data)
    assert torch.equal(z_user, model.user_embedding.weight)
    assert torch.equal(z_item, model.item_embedding.weight)


def test_loss_and_gradients_equal_the_formula() -> None:
    data = small_shop()
    model = model_of(data)
    triplets = [(0, 1, 3), (0, 6, 8), (2, 3, 0)]  # User 0 twice, item 3 on both sides.
    users, items, negatives = torch.tensor(triplets).t()
    loss = model.loss(data, users, items, negatives, BPRLoss(0.1))
    p, q = model.user_embedding.weight, model.item_embedding.weight
    expected = torch.zeros((), dtype=torch.double)
    for user, item, negative in triplets:
        margin = (p[user] * q[item]).sum() - (p[user] * q[negative]).sum()
        squares = sum(row.pow(2).sum() for row in (p[user], q[item], q[negative]))
        expected = expected + torch.log(1 + torch.exp(-margin)) + 0.1 / 2 * squares
    expected = expected / len(triplets)
    torch.testing.assert_close(loss, expected)
    grads, exact = (torch.autograd.grad(x, [p, q]) for x in (loss, expected))
    torch.testing.assert_close(grads, exact)
    untouched = [row for row in range(NUM_ITEMS) if row not in (0, 1, 3, 6, 8)]
    assert not grads[1][untouched].any()


def test_equals_light_gcn_without_layers() -> None:
    data = small_shop()
    model = model_of(data)
    torch.manual_seed(0)
    other = LightGCN.from_data(data, embedding_dim=4, num_layers=0).double()
    torch.testing.assert_close(model(data), other(data))


def test_interactions_and_features_are_not_read() -> None:
    data = small_shop()
    model = model_of(data)
    before = model(data)
    del data[INTERACTS], data[ITEM].x_image
    torch.testing.assert_close(model(data), before)
    assert before[1][COLD].ne(0).all()


def test_the_start_is_that_of_xavier() -> None:
    torch.manual_seed(0)
    model = MF(200, 90, embedding_dim=50)
    before = model.user_embedding.weight.clone()
    model.reset_parameters()
    assert not torch.equal(model.user_embedding.weight, before)
    for weight in (model.user_embedding.weight, model.item_embedding.weight):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.9 * bound < float(weight.detach().abs().max()) <= bound


def test_unknown_numbers_are_refused() -> None:
    data = HeteroData()
    data[USER].num_nodes = 2
    with pytest.raises(ValueError, match="doesn't say how many items there are"):
        MF.from_data(data)
