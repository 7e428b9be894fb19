"""Dense item graphs, frozen in part and learned in part, for LATTICE and MICRO."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import LATTICE, MICRO
from pyg_mmgef.nn.parts import LatentGraphs
from pyg_mmgef.schema import ITEM
from tests.nn.models.multimodal import of_light_gcn, warm
from tests.nn.models.shops import NUM_ITEMS
from tests.references import top_k_rows

MODALITIES = ('image', 'text')


def latent_graphs(model: LATTICE | MICRO) -> LatentGraphs:
    graphs = model.graphs if isinstance(model, MICRO) else model.item_encoder.graphs
    assert isinstance(graphs, LatentGraphs)
    return graphs


def content(data: HeteroData, name: str) -> tuple[Tensor, Tensor]:
    """Return features, zero where missing, and who has them."""
    x = data[ITEM][f'x_{name}'].double().clone()
    if f'has_{name}' in data[ITEM]:
        x[~data[ITEM][f'has_{name}']] = 0.0
    return x, (x != 0).any(dim=1)


def cosines(x: Tensor, has: Tensor) -> Tensor:
    """Return all cosines, zero beside an item without content."""
    x = x / torch.where(has, x.norm(dim=1), 1.0)[:, None]
    return (x @ x.t()) * has[:, None] * has[None, :]


def normalized(matrix: Tensor) -> Tensor:
    degree = matrix.sum(dim=1)
    scale = torch.where(degree > 0, torch.where(degree > 0, degree, 1.0) ** -0.5, 0.0)
    return scale[:, None] * matrix * scale[None, :]


def projections(graphs: LatentGraphs) -> list[Linear]:
    return [lin for lin in graphs.lins if isinstance(lin, Linear)]


def move(graphs: LatentGraphs) -> None:
    """Replace the projections, so that the neighbours are older than they."""
    for lin in projections(graphs):
        torch.nn.init.normal_(lin.weight)


def projected(model: LATTICE | MICRO, data: HeteroData) -> list[tuple[Tensor, Tensor]]:
    out = []
    for name, lin in zip(MODALITIES, projections(latent_graphs(model)), strict=True):
        x, has = content(data, name)
        out.append((x @ lin.weight.t() + lin.bias, has))
    return out


def neighbors(model: LATTICE | MICRO, data: HeteroData) -> list[Tensor]:
    """Return a 0-1 matrix for each modality: who is near whom by the projections of now."""
    k = latent_graphs(model).k
    return [
        (top_k_rows(cosines(x.detach(), has), k) > 0).double() for x, has in projected(model, data)
    ]


def dense_graphs(
    model: LATTICE | MICRO, data: HeteroData, chosen: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Return the matrix of each modality, with gradient."""
    graphs = latent_graphs(model)
    skip_weight = graphs.skip_weight
    out = [normalized(top_k_rows(cosines(*content(data, name)), graphs.k)) for name in MODALITIES]
    if skip_weight == 1:
        return out
    chosen = neighbors(model, data) if chosen is None else chosen
    learned = [
        normalized(cosines(x, has).clamp(min=0) * mask)
        for (x, has), mask in zip(projected(model, data), chosen, strict=True)
    ]
    return [
        skip_weight * frozen + (1 - skip_weight) * other
        for frozen, other in zip(out, learned, strict=True)
    ]


def embeddings(model: LATTICE | MICRO, data: HeteroData, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return z_u and [warm] z_i^LightGCN + h_i / ||h_i||."""
    z_user, z_item = of_light_gcn(model.light_gcn, data)
    unit = [row / row.norm() if float(row.detach().norm()) > 0 else row for row in h]
    assert len(unit) == NUM_ITEMS
    return z_user, warm(data) * z_item + torch.stack(unit)
