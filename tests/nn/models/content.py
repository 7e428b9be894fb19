"""What models that embed cold items share: what they read, one item at a time, and a batch."""

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import IALS, Recommender
from pyg_mmgef.nn.parts._tower import Tower
from pyg_mmgef.schema import ITEM
from tests.nn.models.shops import CHANNELS, COLD, NUM_ITEMS

USERS, ITEMS, NEGATIVES = torch.tensor([[0, 1, 4], [2, 3, 6], [0, 6, 5], [4, 5, 7]]).t()
ON_IALS = {'embedding_dim': 3, 'l2': 0.02, 'unobserved_weight': 0.3}
Model = TypeVar('Model', bound=Recommender)

WARM = [item for item in range(NUM_ITEMS) if item not in COLD]


def has_modality(data: HeteroData, name: str, item: int) -> bool:
    has = data[ITEM].get(f'has_{name}')
    return bool(data[ITEM][f'x_{name}'][item].any()) and (has is None or bool(has[item]))


def has_features(data: HeteroData, item: int) -> bool:
    return has_modality(data, 'image', item) or has_modality(data, 'text', item)


def standard_rows(rows: dict[int, Tensor], counted: list[int]) -> dict[int, Tensor]:
    """Rows with the mean of those counted taken away, divided by their root mean square."""
    mean = torch.stack([rows[i] for i in counted]).sum(dim=0) / len(counted)
    squares = [float(number) ** 2 for i in counted for number in rows[i] - mean]
    scale = (sum(squares) / len(squares)) ** 0.5
    return {i: (row - mean) / scale for i, row in rows.items()}


def features_of(data: HeteroData) -> Tensor:
    """The features of all items in the small shop, zero where a modality is missing."""
    out = torch.zeros(NUM_ITEMS, 2 * CHANNELS).double()
    for position, name in enumerate(('image', 'text')):
        there = [i for i in range(NUM_ITEMS) if has_modality(data, name, i)]
        unit = {i: data[ITEM][f'x_{name}'][i] / data[ITEM][f'x_{name}'][i].norm() for i in there}
        for i, row in standard_rows(unit, [i for i in there if i in WARM]).items():
            out[i, position * CHANNELS : (position + 1) * CHANNELS] = row
    return out


def moved(model: type[Model], data: HeteroData, **options: Any) -> Model:
    """A model on IALS, in double precision, whose means and variances aren't at their start."""
    torch.manual_seed(0)
    built = model.from_data(data, **{**ON_IALS, **options}).double()
    for tower in built.modules():
        if isinstance(tower, Tower):
            for tensor in (tower.norm.running_mean, tower.norm.running_var, tower.norm.weight):
                assert tensor is not None
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return built


def ials_of(data: HeteroData) -> tuple[Tensor, Tensor]:
    """The embeddings of IALS that such a model starts from."""
    return IALS.from_data(data, **ON_IALS).double().embed(data, None, None)


def inputs_of(data: HeteroData) -> tuple[Tensor, Tensor]:
    """p and q: the same, as inputs of networks."""
    z_user, z_item = ials_of(data)
    return standard_embeddings(z_user), standard_embeddings(z_item)


def with_fixed_statistics(model: Model) -> Model:
    """The model in training, but for its means and variances."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
    return model


def check_gradients(model: Recommender, a: Tensor, b: Tensor) -> None:
    """Compare two scalars and their gradients in all parameters of a model."""
    torch.testing.assert_close(a, b)
    parameters = list(model.parameters())
    grads, exact = (
        torch.autograd.grad(x, parameters, allow_unused=True, materialize_grads=True)
        for x in (a, b)
    )
    torch.testing.assert_close(grads, exact)


def standard_embeddings(z: Tensor) -> Tensor:
    """Embeddings of IALS as inputs; those without interactions have zeros."""
    there = [i for i in range(len(z)) if z[i].any()]
    rows = standard_rows({i: z[i] for i in there}, there)
    return torch.stack([rows[i] if i in rows else torch.zeros_like(z[i]) for i in range(len(z))])


def through(tower: Tower, x: Tensor, training: bool) -> Tensor:
    """A tower's outputs by its formula."""
    hidden = torch.stack([tower.lin_in.weight @ row for row in x])
    mean, variance = tower.norm.running_mean, tower.norm.running_var
    if training:
        mean = hidden.sum(dim=0) / len(hidden)
        variance = ((hidden - mean) ** 2).sum(dim=0) / len(hidden)
    assert mean is not None
    assert variance is not None
    hidden = (hidden - mean) / (variance + 1e-5).sqrt() * tower.norm.weight + tower.norm.bias
    return torch.stack([tower.lin_out.weight @ row.tanh() + tower.lin_out.bias for row in hidden])


def bpr(z_user: Tensor, z_item: Tensor, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
    """The mean of the BPR terms of a batch with one negative each, without L2."""
    terms = []
    for u, i, n in zip(users.tolist(), items.tolist(), negatives.tolist(), strict=True):
        margin = z_user[u] @ z_item[i] - z_user[u] @ z_item[n]
        terms.append(torch.log(1 + torch.exp(-margin)))
    return torch.stack(terms).mean()
