import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import IALS, ContentIALS
from pyg_mmgef.schema import INTERACTS, ITEM, USER
from tests.nn.models.shops import COLD, interaction_matrix, small_shop
from tests.references import dense_adjacency

WARM = [item for item in range(9) if item not in COLD]
OPTIONS = {'embedding_dim': 3, 'l2': 0.02, 'unobserved_weight': 0.3}


def loss(
    z_user: Tensor, z_item: Tensor, data: HeteroData, model: IALS, prior: Tensor | None = None
) -> Tensor:
    """The sum over all pairs, one by one, and the penalty of every user and item."""
    taken = interaction_matrix(data).gt(0)
    num_users, num_items = taken.shape
    total = torch.zeros(()).double()
    for u in range(num_users):
        for i in range(num_items):
            score = z_user[u] @ z_item[i]
            total = total + model.unobserved_weight * score**2
            if taken[u, i]:
                total = total + (score - 1) ** 2
    of_user = taken.sum(1).double() + model.unobserved_weight * num_items
    of_item = taken.sum(0).double() + model.unobserved_weight * num_users
    nu = model.l2_exponent
    for u in range(num_users):
        weight = float(of_user.mean()) ** (1 - nu) * float(of_user[u]) ** nu
        total = total + model.l2 * weight * z_user[u].square().sum()
    for i in range(num_items):
        weight = float(of_item.mean()) ** (1 - nu) * float(of_item[i]) ** nu
        drawn_to = 0 if prior is None else prior[i]
        total = total + model.l2 * weight * (z_item[i] - drawn_to).square().sum()
    return total


def solved(model: IALS, data: HeteroData) -> tuple[Tensor, Tensor]:
    z_user, z_item = model.double().embed(data, None, None)
    return z_user, z_item


@pytest.mark.parametrize('l2_exponent', [0.0, 0.5, 1.0])
def test_is_a_minimum_of_the_loss(l2_exponent: float) -> None:
    data = small_shop()
    model = IALS.from_data(data, l2_exponent=l2_exponent, num_sweeps=150, num_steps=4, **OPTIONS)
    z_user, z_item = solved(model, data)
    z_user, z_item = z_user.clone().requires_grad_(), z_item.clone().requires_grad_()
    grads = torch.autograd.grad(loss(z_user, z_item, data, model), [z_user, z_item])
    assert z_user.abs().max() > 0.1
    for grad in grads:
        torch.testing.assert_close(grad, torch.zeros_like(grad), rtol=0, atol=1e-8)


def test_users_are_solved_exactly() -> None:
    data = small_shop()
    model = IALS.from_data(data, num_sweeps=1, num_steps=9, l2_exponent=1.0, **OPTIONS)
    z_user, z_item = solved(model, data)
    taken = interaction_matrix(data).gt(0).double()
    for u in range(5):
        gram = z_item.t() @ (taken[u, :, None] * z_item)
        gram = gram + model.unobserved_weight * z_item.t() @ z_item
        weight = taken[u].sum() + model.unobserved_weight * 9
        gram = gram + model.l2 * weight * torch.eye(3).double()
        torch.testing.assert_close(z_user[u], torch.linalg.solve(gram, taken[u] @ z_item))
        items, parts = model.user_parts(data, u)
        assert items.tolist() == taken[u].nonzero().view(-1).tolist()
        torch.testing.assert_close(parts.sum(dim=0), z_user[u])
    assert z_item[COLD].eq(0).all()
    assert z_user[5].eq(0).all()  # A user without interactions.
    assert model.user_parts(data, 5)[1].shape == (0, 3)


def test_few_steps_are_enough() -> None:
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data[USER].num_nodes, data[ITEM].num_nodes = 100, 80
    group = torch.arange(100)[:, None] % 4 == torch.arange(80) % 4
    chance = torch.where(group, 0.4, 0.02)
    edges = (torch.rand(100, 80, generator=generator) < chance).nonzero().t()
    data[INTERACTS].edge_index = edges
    options = {'embedding_dim': 8, 'l2': 0.01, 'unobserved_weight': 0.1}
    few = IALS.from_data(data, num_sweeps=300, num_steps=3, **options)
    many = IALS.from_data(data, num_sweeps=300, num_steps=40, **options)
    scores = [z_user @ z_item.t() for z_user, z_item in (solved(few, data), solved(many, data))]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-3)


def test_a_repeated_interaction_counts_once() -> None:
    data, repeated = small_shop(), small_shop()
    edges = data[INTERACTS].edge_index
    repeated[INTERACTS].edge_index = torch.cat([edges, edges[:, :4]], dim=1)
    model = IALS.from_data(data, **OPTIONS)
    torch.testing.assert_close(solved(model, data), solved(model, repeated))


def test_items_are_drawn_to_their_content_and_neighbours() -> None:
    data = small_shop()
    weights = {'similar': 0.2, 'co_interacts': 0.1}
    options = {'content_weight': 0.4, 'content_count': 0.0, 'item_graphs': weights}
    options |= {'num_steps': 9, **OPTIONS}
    # What the last sweep gave the items comes from the users and the items of the one before.
    z_user, before = solved(ContentIALS.from_data(data, num_sweeps=7, **options), data)
    model = ContentIALS.from_data(data, num_sweeps=8, **options)
    _, z_item = solved(model, data)
    graph = torch.zeros(9, 9).double()
    for relation, weight in weights.items():
        store = data[ITEM, relation, ITEM]
        graph += weight * dense_adjacency(store.edge_index, store.edge_weight, 9, 9)
    content = model._content_of(data, model.is_warm(data))
    assert content is not None
    x, z = content.warm, before[WARM]
    a, b = x - x.mean(dim=0), z - z.mean(dim=0)
    ridge = model._prior_map.strength * torch.eye(x.size(1)).double()
    fitted = z.mean(dim=0) + a @ torch.linalg.solve(a.t() @ a + ridge, a.t() @ b)
    prior = graph @ before
    prior[WARM] += 0.4 * fitted
    z_item = z_item.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(z_user, z_item, data, model, prior), [z_item])
    torch.testing.assert_close(grad[WARM], torch.zeros_like(grad[WARM]), rtol=0, atol=1e-7)


def test_cold_items_are_ranked_by_what_the_history_contains() -> None:
    data = small_shop()
    options = {'content_count': 0.0, 'item_graphs': {}, 'num_steps': 30, **OPTIONS}
    model = ContentIALS.from_data(data, history_content=0.4, **options)
    z_user, z_item = solved(model, data)
    plain = ContentIALS.from_data(data, history_content=0.0, **options).double().eval()(data)[1]
    found = model.eval()(data)[1]
    content = model._content_of(data, model.is_warm(data))
    assert content is not None
    assert model.content_map is not None
    known = torch.zeros_like(z_item)
    known[WARM] = 0.6 * z_item[WARM] + 0.4 * model.content_map(content.warm)
    edges = data[INTERACTS].edge_index
    counts = edges[0].bincount(minlength=6).double() + model.unobserved_weight * 9
    of_content = torch.zeros_like(z_user)
    for user in range(6):
        own = known[edges[1, edges[0] == user]]
        penalty = model.l2 * counts.mean() ** 0.5 * counts[user] ** 0.5
        gram = own.t() @ own + model.unobserved_weight * known.t() @ known
        gram += penalty * torch.eye(gram.size(0))
        of_content[user] = torch.linalg.solve(gram, own.sum(dim=0))
    gram = z_user.t() @ z_user
    gram += 0.01 * gram.diagonal().mean() * torch.eye(gram.size(0))
    matrix = torch.linalg.solve(gram, z_user.t() @ of_content)
    predicted = model.content_map(content.warm)
    matrix *= predicted.norm() / (predicted @ matrix.t()).norm()
    cold = [item for item in range(9) if item not in WARM]
    torch.testing.assert_close(found[cold], plain[cold] @ matrix.t())
    torch.testing.assert_close(found[WARM], plain[WARM])
    features = {name: data[ITEM][f'x_{name}'][cold] for name in ('image', 'text')}
    torch.testing.assert_close(model.embed_items(data, features), found[cold])
    before = found[cold]
    data[INTERACTS].edge_index = edges[:, :-1]
    assert not torch.allclose(model(data)[1][cold], before)


def test_what_it_is_drawn_to_is_read_anew() -> None:
    data = small_shop()
    model = ContentIALS.from_data(data, item_graphs={'similar': 0.3}, **OPTIONS)
    before = solved(model, data)[1]
    data[ITEM].x_text = data[ITEM].x_text.flip(0)
    after = solved(model, data)[1]
    assert not torch.allclose(after, before)
    data[ITEM, 'similar', ITEM].edge_weight = 0.1 * data[ITEM, 'similar', ITEM].edge_weight
    assert not torch.allclose(solved(model, data)[1], after)


def test_without_weights_it_is_ials() -> None:
    data = small_shop()
    plain = IALS.from_data(data, **OPTIONS)
    none = {'content_weight': 0.0, 'content_count': 0.0, 'item_graphs': {}}
    model = ContentIALS.from_data(data, **none, **OPTIONS)
    torch.testing.assert_close(solved(model, data), solved(plain, data))
    data = HeteroData()
    data[USER].num_nodes, data[ITEM].num_nodes = 6, 9
    data[INTERACTS].edge_index = small_shop()[INTERACTS].edge_index
    model = ContentIALS.from_data(data, **OPTIONS)
    torch.testing.assert_close(solved(model, data), solved(plain, data))


def test_the_default_weight_of_a_pair_that_never_met() -> None:
    assert IALS(1000, 5).unobserved_weight == pytest.approx(0.1)
    assert ContentIALS(1000, 5).unobserved_weight == pytest.approx(0.1)
    assert IALS(1000, 5, unobserved_weight=0.5).unobserved_weight == 0.5


def test_weights_of_graphs_are_not_negative() -> None:
    with pytest.raises(ValueError, match=r"'item_graphs\['similar'\]' must be finite and not"):
        ContentIALS(3, 4, item_graphs={'similar': -1.0})


def test_a_graph_that_the_data_lacks() -> None:
    data = small_shop(('similar',))
    model = ContentIALS.from_data(data, item_graphs={'co_interacts': 0.5})
    with pytest.raises(ValueError, match='co_interacts'):
        model(data)
