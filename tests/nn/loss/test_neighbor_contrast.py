from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_mmgef.graph.weights import bipartite_normalize
from pyg_mmgef.nn import FREEDOM, BPRLoss, LightGCN
from pyg_mmgef.nn.loss import NeighborContrastLoss
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.sparse import CSRPair
from tests.nn.models.shops import interaction_matrix, small_shop
from tests.references import bipartite_normalized

USERS, ITEMS = torch.tensor([0, 4, 3, 4]), torch.tensor([6, 5, 4, 0])


def graph_of() -> CSRPair:
    edge_index = small_shop()[INTERACTS].edge_index
    weight = bipartite_normalize(edge_index, None, (6, 9), dtype=torch.double)
    return CSRPair(edge_index, weight, (6, 9))


def embeddings() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x_user, x_item = (
        torch.randn(number, 3, generator=generator, dtype=torch.double).requires_grad_()
        for number in (6, 9)
    )
    return x_user, x_item


def expected_of(loss: NeighborContrastLoss, x_user: Tensor, x_item: Tensor) -> Tensor:
    """The sum over layers of -log of the share of the pair among the rows of the batch."""
    walk = bipartite_normalized(interaction_matrix(small_shop()))
    total = torch.zeros(()).double()
    for _ in range(loss.num_layers):
        next_user, next_item = walk @ x_item, walk.t() @ x_user
        for share, later, earlier in (
            (loss.user_share, next_item[ITEMS], x_user[USERS]),
            (1 - loss.user_share, next_user[USERS], x_item[ITEMS]),
        ):
            for row in range(4):
                exp = [
                    (later[row] @ e / (later[row].norm() * e.norm()) / loss.temperature).exp()
                    for e in earlier
                ]
                total = total - share * torch.log(exp[row] / torch.stack(exp).sum()) / 4
        x_user, x_item = next_user, next_item
    return total


@pytest.mark.parametrize('num_layers', [1, 2, 3])
@pytest.mark.parametrize('user_share', [0.0, 0.6, 1.0])
def test_equals_the_formula(num_layers: int, user_share: float) -> None:
    contrast = NeighborContrastLoss(num_layers, temperature=0.5, user_share=user_share)
    x = embeddings()
    loss, expected = contrast(graph_of(), *x, USERS, ITEMS), expected_of(contrast, *x)
    torch.testing.assert_close(loss, expected)
    grads, exact = (torch.autograd.grad(each, x) for each in (loss, expected))
    torch.testing.assert_close(grads, exact)


def test_gradcheck() -> None:
    contrast, graph = NeighborContrastLoss(temperature=0.5), graph_of()
    assert torch.autograd.gradcheck(lambda a, b: contrast(graph, a, b, USERS, ITEMS), embeddings())


@pytest.mark.parametrize('model', [LightGCN, FREEDOM])
def test_is_added_to_the_loss_of_a_model(model: type[LightGCN] | type[FREEDOM]) -> None:
    data = small_shop()
    ours = model.from_data(data, embedding_dim=4).double()
    light_gcn = ours if isinstance(ours, LightGCN) else ours.light_gcn
    x = light_gcn.user_embedding.weight, light_gcn.item_embedding.weight
    term = NeighborContrastLoss()(light_gcn.interaction_graph(data), *x, USERS, ITEMS)
    loss = ours.loss(data, USERS, ITEMS, torch.tensor([1, 2, 3, 1]), BPRLoss()) + 0.2 * term
    loss.backward()
    for parameter in x:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_nodes_without_interactions() -> None:
    graph = CSRPair(torch.empty(2, 0, dtype=torch.long), size=(6, 9))
    x = embeddings()
    loss = NeighborContrastLoss()(graph, *x, USERS, ITEMS)
    torch.testing.assert_close(loss, 2 * torch.tensor(4.0).double().log())
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, x))


def test_half_precision() -> None:
    x_user, x_item = (x.detach().bfloat16() for x in embeddings())
    assert NeighborContrastLoss()(graph_of(), x_user, x_item, USERS, ITEMS).isfinite()


def test_what_does_not_fit_is_refused() -> None:
    contrast, graph, (x_user, x_item) = NeighborContrastLoss(), graph_of(), embeddings()
    with pytest.raises(ValueError, match='must have 6 and 9 rows'):
        contrast(graph, x_item, x_user, USERS, ITEMS)
    with pytest.raises(ValueError, match=r'must both have shape \[B\] \(got \[4\] and \[2\]\)'):
        contrast(graph, x_user, x_item, USERS, ITEMS[:2])
    with pytest.raises(ValueError, match="'users'"):
        contrast(graph, x_user, x_item, USERS + 3, ITEMS)
    with pytest.raises(ValueError, match='hold no row'):
        contrast(graph, x_user, x_item, USERS[:0], ITEMS[:0])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'num_layers': 0}, "'num_layers' must be a positive integer"),
        ({'temperature': 0.0}, "'temperature' must be positive"),
        ({'user_share': 1.5}, r"'user_share' must lie in \[0, 1\]"),
    ],
)
def test_constructor_errors(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NeighborContrastLoss(**kwargs)
