from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import MMGCN
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.shops import COLD, NUM_ITEMS, NUM_USERS, interacting, small_shop

Embeddings = tuple[Tensor, Tensor]
COMBINATIONS = ['concat', 'add']


def model_of(data: HeteroData, seed: int = 0, **kwargs: Any) -> MMGCN:
    """A model in double precision, with biases that matter."""
    torch.manual_seed(seed)
    kwargs = {'embedding_dim': 3, 'feature_dim': 5, 'num_layers': 2, **kwargs}
    return MMGCN.from_data(data, **kwargs).double()


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def unit(x: Tensor) -> Tensor:
    return x / x.norm()


def mean_of(x: Tensor, nodes: list[int]) -> Tensor:
    return sum((x[node] for node in nodes), torch.zeros_like(x[0])) / max(len(nodes), 1)


def neighbours(data: HeteroData) -> tuple[list[list[int]], list[list[int]]]:
    """The items of each user and the users of each item; who is repeated counts each time."""
    edges = data[INTERACTS].edge_index.t().tolist()
    of_user = [[i for u, i in edges if u == user] for user in range(NUM_USERS)]
    return of_user, [[u for u, i in edges if i == item] for item in range(NUM_ITEMS)]


def starting(model: MMGCN, data: HeteroData, modality: int) -> Embeddings:
    """What users and items are before the first layer."""
    branch: Any = model.branches[modality]
    name = ('image', 'text')[modality]
    x, rows = data[ITEM][f'x_{name}'], []
    for item in range(NUM_ITEMS):
        lacks = item == 6 or (name == 'image' and not data[ITEM].has_image[item])
        row = unit(branch.lin.weight @ x[item] + branch.lin.bias)
        rows.append(torch.zeros_like(row) if lacks else row)
    return torch.stack([unit(row) for row in branch.preference.weight]), torch.stack(rows)


def expected_of(model: MMGCN, data: HeteroData) -> Embeddings:
    """The formulas, node by node."""
    of_user, of_item = neighbours(data)
    outs = []
    branch: Any
    for modality, branch in enumerate(model.branches):
        sides = starting(model, data, modality)
        for layer in branch.layers:
            new: list[Tensor] = []
            for side, (nodes, table) in enumerate(
                zip((of_user, of_item), (model.user_embedding, model.item_embedding), strict=True)
            ):
                rows = []
                for node, near in enumerate(nodes):
                    message = sides[1 - side] @ layer.message.weight.t()
                    h = leaky(mean_of(message, near))
                    own = leaky(layer.lin_self.weight @ sides[side][node] + layer.lin_self.bias)
                    if side == 0 or near:
                        own = own + table.weight[node]
                    if model.combination == 'concat':
                        together = layer.lin.weight @ torch.cat([h, own]) + layer.lin.bias
                    else:
                        together = layer.lin.weight @ h + layer.lin.bias + own
                    rows.append(leaky(together))
                new.append(torch.stack(rows))
            sides = new[0], new[1]
        outs.append(sides)
    image, text = outs
    return (image[0] + text[0]) / 2, (image[1] + text[1]) / 2


@pytest.mark.parametrize('combination', COMBINATIONS)
@pytest.mark.parametrize('num_layers', [1, 3])
def test_equals_the_formulas(combination: str, num_layers: int) -> None:
    data = small_shop()
    model = model_of(data, combination=combination, num_layers=num_layers)
    out, expected = model(data), expected_of(model, data)
    torch.testing.assert_close(out, expected)
    grads, exact = (
        torch.autograd.grad(z_user.pow(3).sum() + z_item.square().sum(), list(model.parameters()))
        for z_user, z_item in (out, expected)
    )
    torch.testing.assert_close(grads, exact)


@pytest.mark.parametrize('combination', COMBINATIONS)
def test_only_what_is_asked_for(combination: str) -> None:
    data = small_shop()
    model = model_of(data, combination=combination)
    users, items = torch.tensor([5, 0, 5]), torch.tensor([[8, 5], [6, 1]])
    every = expected_of(model, data)
    out, expected = model(data, users, items), (every[0][users], every[1][items])
    torch.testing.assert_close(out, expected)
    grads, exact = (
        torch.autograd.grad(z_user.pow(3).sum() + z_item.square().sum(), list(model.parameters()))
        for z_user, z_item in (out, expected)
    )
    torch.testing.assert_close(grads, exact)


def test_repeated_interactions_count_each_time() -> None:
    data = small_shop()
    once = model_of(data)(data)
    edge_index = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edge_index, edge_index[:, :2]], dim=1)
    model = model_of(data)
    torch.testing.assert_close(model(data), expected_of(model, data))
    assert not torch.allclose(model(data)[0], once[0])


def test_cold_items_are_what_their_content_is() -> None:
    data = small_shop()
    model = model_of(data)
    _, before = model(data)
    with torch.no_grad():
        model.item_embedding.weight += 1.0
    _, after = model(data)
    warm = [item for item in range(NUM_ITEMS) if item not in COLD]
    assert torch.equal(after[COLD], before[COLD])
    assert (after[warm] - before[warm]).abs().amax(dim=1).gt(1e-3).all()
    assert not torch.allclose(before[7], before[8])


def test_items_without_content_are_known_by_their_interactions() -> None:
    data = small_shop()
    data[ITEM].x_text[8] = 0.0
    data[ITEM].x_image[[7, 8]] = 0.0
    data[ITEM].x_text[7] = 0.0
    model = model_of(data)
    _, z_item = model(data)
    torch.testing.assert_close(z_item[7], z_item[8])  # Cold, and nothing is known of them.
    assert not torch.allclose(z_item[6], z_item[7])


def test_one_modality_and_one_matrix() -> None:
    data = small_shop()
    model = model_of(data, in_channels={'text': 4})
    before = model(data)
    data[ITEM].x_image = data[ITEM].x_image + 1
    torch.testing.assert_close(model(data), before)
    data[ITEM].x_text = data[ITEM].x_text + 1
    assert not torch.allclose(model(data)[1], before[1])
    single = interacting(data[INTERACTS].edge_index, NUM_USERS, NUM_ITEMS)
    single[ITEM].x = data[ITEM].x_text
    for z, other in zip(model_of(single)(single), model(data), strict=True):
        torch.testing.assert_close(z, other)


def test_modalities_may_be_of_different_width() -> None:
    data = small_shop()
    data[ITEM].x_text = data[ITEM].x_text[:, :2]
    z_user, z_item = model_of(data)(data)
    assert (z_user.shape, z_item.shape) == ((NUM_USERS, 3), (NUM_ITEMS, 3))


def test_new_interactions_are_noticed() -> None:
    data = small_shop()
    model = model_of(data)
    model(data)
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, 1:]
    torch.testing.assert_close(model(data), expected_of(model, data))
