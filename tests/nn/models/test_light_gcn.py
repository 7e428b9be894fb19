import copy
import io
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn import LightGCN as PyGLightGCN

from pyg_mmgef.nn import BPRLoss, LightGCN, SampledSoftmaxLoss
from pyg_mmgef.schema import INTERACTS, ITEM, USER
from tests.nn.models.multimodal import check_embeddings, of_light_gcn, train
from tests.nn.models.shops import COLD, interacting, interaction_matrix, planted_shop, small_shop
from tests.references import light_gcn

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)  # Weights are made in float32.


def model_of(data: HeteroData, num_layers: int = 2, seed: int = 0, **kwargs: Any) -> LightGCN:
    torch.manual_seed(seed)
    return LightGCN.from_data(data, embedding_dim=4, num_layers=num_layers, **kwargs).double()


@pytest.mark.parametrize('num_layers', [0, 1, 2, 3])
def test_equals_the_dense_reference(num_layers: int) -> None:
    data = small_shop()
    model = model_of(data, num_layers)
    check_embeddings(model, data, of_light_gcn(model, data))


def test_equals_light_gcn_of_pyg() -> None:
    data = small_shop()
    model = model_of(data)
    source, destination = data[INTERACTS].edge_index
    both = torch.stack([torch.cat([source, destination + 6]), torch.cat([destination + 6, source])])
    other = PyGLightGCN(num_nodes=15, embedding_dim=4, num_layers=2).double()
    embeddings = [model.user_embedding.weight, model.item_embedding.weight]
    other.embedding.weight.data.copy_(torch.cat(embeddings).detach())
    close(torch.cat(model(data)), other.get_embedding(both))


def test_no_layers_is_matrix_factorisation() -> None:
    data = small_shop()
    model = model_of(data, num_layers=0)
    z_user, z_item = model(data)
    assert torch.equal(z_user, model.user_embedding.weight)
    assert torch.equal(z_item, model.item_embedding.weight)


def test_repeated_interactions_count_each_time() -> None:
    data = small_shop()
    edge_index = data[INTERACTS].edge_index
    once = model_of(data)(data)
    data[INTERACTS].edge_index = torch.cat([edge_index, edge_index[:, :3]], dim=1)
    model = model_of(data)
    assert float(interaction_matrix(data).max()) == 2
    close(model(data), of_light_gcn(model, data))
    assert not torch.allclose(model(data)[0], once[0])


def test_order_of_interactions_does_not_matter() -> None:
    data = small_shop()
    out = model_of(data)(data)
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, torch.randperm(11)]
    torch.testing.assert_close(model_of(data)(data), out)


def test_who_has_no_interactions_keeps_a_share_of_the_embedding() -> None:
    data = small_shop()
    model = model_of(data, num_layers=2)
    z_user, z_item = model(data)
    torch.testing.assert_close(z_user[5], model.user_embedding.weight[5] / 3)
    torch.testing.assert_close(z_item[COLD], model.item_embedding.weight[COLD] / 3)


def test_no_interactions_at_all() -> None:
    data = interacting(torch.empty(2, 0, dtype=torch.long), 3, 4)
    model = model_of(data, num_layers=1)
    z_user, z_item = model(data)
    torch.testing.assert_close(z_user, model.user_embedding.weight / 2)
    torch.testing.assert_close(z_item, model.item_embedding.weight / 2)
    (z_user.sum() + z_item.sum()).backward()
    grad = model.user_embedding.weight.grad
    assert grad is not None
    assert torch.equal(grad, torch.full((3, 4), 0.5).double())


def test_int32_interactions() -> None:
    data = small_shop()
    model = model_of(data)
    data[INTERACTS].edge_index = data[INTERACTS].edge_index.int()
    out, expected = model(data), of_light_gcn(model, data)
    close(out, expected)
    parameters = list(model.parameters())
    grads, exact = (torch.autograd.grad(z[0].pow(3).sum(), parameters) for z in (out, expected))
    close(grads, exact)


def test_only_train_interactions_are_read() -> None:
    data = small_shop()
    out = model_of(data)(data)
    data[INTERACTS].edge_label_index = torch.tensor([[5], [8]])
    data[ITEM, 'similar', ITEM].edge_weight *= 100
    data[ITEM].x_image *= -1
    torch.testing.assert_close(model_of(data)(data), out)


def test_graph_is_built_once_for_the_same_interactions() -> None:
    data = small_shop()
    model = model_of(data)
    graph = model.interaction_graph(data)
    model(data)
    model.eval()
    model(data)
    assert model.interaction_graph(data) is graph
    assert model.interaction_graph(copy.copy(data)) is graph


def test_new_interactions_are_noticed() -> None:
    data = small_shop()
    model = model_of(data)
    before = model(data)
    data[INTERACTS].edge_index = torch.cat(
        [data[INTERACTS].edge_index, torch.tensor([[5], [7]])], dim=1
    )
    replaced = model(data)
    close(replaced, of_light_gcn(model, data))
    assert not torch.allclose(replaced[0], before[0])
    data[INTERACTS].edge_index[1, -1] = 8
    changed = model(data)
    close(changed, of_light_gcn(model, data))
    assert not torch.allclose(changed[0], replaced[0])


def test_two_graphs_in_turn() -> None:
    train, other = small_shop(), small_shop()
    other[INTERACTS].edge_index = other[INTERACTS].edge_index[:, :5]
    model = model_of(train)
    for data in (train, other, train, other):
        close(model(data), of_light_gcn(model, data))


def test_inference_mode_before_and_after_training() -> None:
    data = small_shop()
    model = model_of(data)
    with torch.inference_mode():
        inferred = model(data)
    out = model(data)
    torch.testing.assert_close(inferred, out)
    (out[0].sum() + out[1].sum()).backward()
    with torch.inference_mode():
        torch.testing.assert_close(model(data), inferred)


def test_copies_compute_the_same() -> None:
    data = small_shop()
    model = model_of(data)
    out = model(data)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    restored = model_of(data, seed=1)
    assert not torch.equal(restored(data)[0], out[0])
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    assert sorted(model.state_dict()) == ['item_embedding.weight', 'user_embedding.weight']
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), restored):
        assert all(torch.equal(z, z_out) for z, z_out in zip(other(data), out, strict=True))


def test_the_seed_decides() -> None:
    data = small_shop()
    first, again, other = (model_of(data, seed=seed)(data)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_reset_parameters_draws_anew() -> None:
    data = small_shop()
    model = LightGCN(200, 9, embedding_dim=50)
    before = model.user_embedding.weight.clone()
    model.reset_parameters()
    assert not torch.equal(model.user_embedding.weight, before)
    for weight in (model.user_embedding.weight, model.item_embedding.weight):
        bound = (6 / sum(weight.shape)) ** 0.5  # Xavier, uniform.
        assert 0.9 * bound < float(weight.detach().abs().max()) <= bound
    model = model_of(data)
    graph = model.interaction_graph(data)
    model.reset_parameters()
    assert model.interaction_graph(data) is not graph


def dropping(data: HeteroData, edge_dropout: float, seed: int = 0) -> LightGCN:
    torch.manual_seed(0)
    model = LightGCN.from_data(
        data, embedding_dim=4, num_layers=1, edge_dropout=edge_dropout, seed=seed
    )
    return model.double()


def test_edge_dropout_leaves_out_interactions_and_their_degrees() -> None:
    data = small_shop()
    model = dropping(data, edge_dropout=1 / 11)
    full = model.eval()(data)
    model.train()
    edge_index = data[INTERACTS].edge_index
    seen = set()
    for epoch in range(8):
        model.start_epoch(data, epoch)
        z_user, z_item = model(data)
        for dropped in range(11):
            kept = [edge for edge in range(11) if edge != dropped]
            expected = of_light_gcn(model, interacting(edge_index[:, kept], 6, 9))
            if torch.allclose(z_user, expected[0], atol=1e-6):
                torch.testing.assert_close(z_item, expected[1], rtol=1e-6, atol=1e-6)
                seen.add(dropped)
                break
        else:
            raise AssertionError('no single interaction explains the embeddings')
    assert len(seen) > 1
    torch.testing.assert_close(model.eval()(data), full)


def test_edge_dropout_depends_on_seed_and_epoch_alone() -> None:
    data = small_shop()

    def draws(seed: int) -> list[Tensor]:
        model, out = dropping(data, edge_dropout=0.5, seed=seed), []
        for epoch in (0, 1, 2, 0):
            torch.rand(1)
            model.start_epoch(data, epoch)
            out.append(model(data)[0])
        return out

    first, again, other = draws(0), draws(0), draws(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(first[0], first[3])
    assert not torch.allclose(first[0], first[1])
    assert not torch.allclose(first[0], other[0])


def test_edge_dropout_keeps_interactions_of_the_unpopular() -> None:
    # Degrees (3, 1) x (1, 2, 1): weights 1/sqrt(3), 1/sqrt(6), 1/sqrt(3) and 1/sqrt(2).
    data = interacting(torch.tensor([[0, 0, 0, 1], [0, 1, 2, 1]]), 2, 3)
    model = dropping(data, edge_dropout=0.75)  # One of four remains.
    count = torch.zeros(2, 3)
    alone = [x.weight / 2 for x in (model.user_embedding, model.item_embedding)]
    for epoch in range(400):
        model.start_epoch(data, epoch)
        moved = [(z != half).any(dim=1) for z, half in zip(model(data), alone, strict=True)]
        count += moved[0][:, None].float() * moved[1]
    weight = torch.tensor([[3**-0.5, 6**-0.5, 3**-0.5], [0.0, 2**-0.5, 0.0]])
    torch.testing.assert_close(count / 400, weight / weight.sum(), rtol=0, atol=0.06)


def test_without_edge_dropout_an_epoch_changes_nothing() -> None:
    data = small_shop()
    model = model_of(data)
    out = model(data)
    model.start_epoch(data, epoch=0)
    torch.testing.assert_close(model(data), out)


def test_edge_dropout_keeps_at_least_one_interaction() -> None:
    data = small_shop()
    model = dropping(data, edge_dropout=0.999)
    model.start_epoch(data, epoch=0)
    assert not torch.equal(model(data)[0], model.user_embedding.weight / 2)


def test_copies_in_an_epoch_of_edge_dropout() -> None:
    data = small_shop()
    model = dropping(data, edge_dropout=0.5)
    model.start_epoch(data, epoch=0)
    out = model(data)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        other.start_epoch(data, epoch=0)
        assert all(torch.equal(a, b) for a, b in zip(other(data), out, strict=True))


def test_reset_parameters_ends_the_epoch_of_edge_dropout() -> None:
    data = small_shop()
    model = dropping(data, edge_dropout=0.5)
    model.start_epoch(data, epoch=3)
    model(data)
    model.reset_parameters()
    after = model(data)
    model.start_epoch(data, epoch=0)
    close(after, model(data))


def test_edge_dropout_notices_other_data() -> None:
    data, other = small_shop(), small_shop()
    other[INTERACTS].edge_index = other[INTERACTS].edge_index[:, :6]
    model = dropping(data, edge_dropout=0.5)
    model.start_epoch(data, epoch=1)
    model(data)
    fresh = dropping(data, edge_dropout=0.5)
    fresh.load_state_dict(model.state_dict())
    fresh.start_epoch(other, epoch=1)
    close(model(other), fresh(other))


def test_edge_dropout_without_interactions() -> None:
    data = interacting(torch.empty(2, 0, dtype=torch.long), 3, 4)
    model = dropping(data, edge_dropout=0.5)
    model.start_epoch(data, epoch=0)
    assert torch.equal(model(data)[0], model.user_embedding.weight / 2)


@pytest.mark.parametrize(
    'negatives', [[7, 0, 7], [[7, 0], [1, 1], [0, 7]], [[7, 0, 1, 7]]], ids=str
)
def test_the_penalty_is_on_layer_0(negatives: list[Any]) -> None:
    data = small_shop()
    model, plain = model_of(data, embedding_l2=0.3), model_of(data)
    users, items, chosen = torch.tensor([4, 1, 4]), torch.tensor([2, 0, 3]), torch.tensor(negatives)
    loss = model.loss(data, users, items, chosen, BPRLoss(l2=0.1))
    x_user, x_item = model.user_embedding.weight, model.item_embedding.weight
    rows = x_user[users], x_item[items], x_item[chosen]
    penalty = sum(x.norm(dim=-1).pow(2).mean() for x in rows)
    expected = plain.loss(data, users, items, chosen, BPRLoss(l2=0.1)) + 0.3 / 2 * penalty
    close(loss, expected)


def test_the_penalty_is_that_of_bpr_without_layers() -> None:
    data = small_shop()
    model, plain = model_of(data, 0, embedding_l2=0.3), model_of(data, 0)
    batch = torch.tensor([4, 1]), torch.tensor([2, 0]), torch.tensor([1, 7])
    loss = model.loss(data, *batch, BPRLoss(l2=0))
    expected = plain.loss(data, *batch, BPRLoss(l2=0.3))
    close(loss, expected)
    loss.backward()
    expected.backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        close(ours.grad, theirs.grad)


def test_a_loss_without_negatives_has_the_penalty_of_the_others() -> None:
    data = small_shop()
    model = model_of(data, embedding_l2=0.3)
    users, items, none = torch.tensor([4, 1]), torch.tensor([2, 0]), torch.empty(2, 0).long()
    loss_fn = SampledSoftmaxLoss()
    plain = model_of(data).loss(data, users, items, none, loss_fn)
    rows = model.user_embedding.weight[users], model.item_embedding.weight[items]
    penalty = sum(x.square().sum(dim=1).mean() for x in rows)
    close(model.loss(data, users, items, none, loss_fn), plain + 0.3 / 2 * penalty)


def test_data_that_does_not_fit_is_refused() -> None:
    data = small_shop()
    with pytest.raises(ValueError, match=r'has 6 users and 9 items, but .* built for 6 and 8'):
        LightGCN(6, 8)(data)
    for name, other in ((USER, ITEM), (ITEM, USER)):
        data = HeteroData()
        data[other].num_nodes = 2
        with pytest.raises(ValueError, match=f"doesn't say how many {name}s there are; set"):
            LightGCN.from_data(data)
        with pytest.raises(ValueError, match=f"doesn't say how many {name}s"):
            LightGCN(2, 2)(data)


@pytest.mark.parametrize(
    ('edge_index', 'message'),
    [
        ([[2], [0]], 'holds the user id 2, but there are only 2 users'),
        ([[0], [3]], 'holds the item id 3, but there are only 3 items'),
        ([[-1], [0]], 'negative user id -1'),
        ([[0.0], [0.0]], 'must hold integer ids'),
        ([0, 1], r'must have shape \[2, E\]'),
    ],
)
def test_wrong_interactions_are_refused(edge_index: list[list[float]], message: str) -> None:
    data = interacting(torch.tensor(edge_index), 2, 3)
    model = LightGCN(2, 3)
    for _ in range(2):  # A failed build isn't remembered.
        with pytest.raises(ValueError, match=message):
            model(data)
    data[INTERACTS].edge_index = torch.tensor([[0], [0]])
    assert model(data)[0].shape == (2, 64)


def test_missing_interactions_are_refused() -> None:
    data = HeteroData()
    data[USER].num_nodes, data[ITEM].num_nodes = 2, 3
    with pytest.raises(ValueError, match=r"no edge type \('user', 'interacts', 'item'\)"):
        LightGCN(2, 3)(data)


def test_a_refusal_leaves_the_data_alone() -> None:
    data = HeteroData()
    data[USER].num_nodes, data[ITEM].num_nodes = 2, 3
    with pytest.raises(ValueError, match=r'and the edge types \[\]\)'):
        LightGCN(2, 3)(data)
    assert data.edge_types == []


def test_learns_a_tiny_data_set() -> None:
    data = planted_shop()
    torch.manual_seed(0)
    model = LightGCN.from_data(data, embedding_dim=16, num_layers=1)
    losses = train(model, data, epochs=20, lr=0.1, batch_size=8)
    assert losses[-1] < 0.1 < 0.4 < losses[0]
    z_user, z_item = model(data)
    liked = interaction_matrix(data) > 0
    scores = z_user @ z_item.t()
    for score, mask in zip(scores, liked, strict=True):
        assert score[mask].min() > score[~mask].max()


@pytest.mark.parametrize('num_layers', [0, 1, 2])
@pytest.mark.parametrize('edge_dropout', [0.0, 0.5])
def test_a_batch_alone_equals_its_rows_of_everything(num_layers: int, edge_dropout: float) -> None:
    data = small_shop()
    model = model_of(data, num_layers, edge_dropout=edge_dropout)
    users, items = torch.tensor([4, 0, 4, 5]), torch.tensor([[1, 8, 1, 3], [6, 6, 0, 2]])
    z_user, z_item = model(data)
    out, expected = model(data, users, items), (z_user[users], z_item[items])
    close(out, expected)
    grads, exact = (
        torch.autograd.grad(a.pow(3).sum() + b.square().sum(), list(model.parameters()))
        for a, b in (out, expected)
    )
    close(grads, exact)
    some_users, all_items = model(data, users)
    close((some_users, all_items), (z_user[users], z_item))


def test_ids_of_a_batch_are_checked() -> None:
    data = small_shop()
    model = model_of(data)
    with pytest.raises(ValueError, match=r"'users' must hold user ids in \[0, 6\)"):
        model(data, torch.tensor([6]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"'items' must hold item ids in \[0, 9\)"):
        model(data, torch.tensor([0]), torch.tensor([-1]))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    data = small_shop()
    model = model_of(data)
    exact = of_light_gcn(model, data)
    for z, expected in zip(model.to(dtype)(data), exact, strict=True):
        assert z.dtype == dtype
        torch.testing.assert_close(z.double(), expected, rtol=0.02, atol=0.02)


def test_is_as_exact_as_its_type() -> None:
    data = small_shop()
    model = LightGCN.from_data(data, embedding_dim=4)
    model(data)  # A graph of lower precision is in the cache.
    model = model.double()
    expected = light_gcn(
        interaction_matrix(data), model.user_embedding.weight, model.item_embedding.weight, 2
    )
    torch.testing.assert_close(model(data), expected, rtol=1e-12, atol=1e-14)
