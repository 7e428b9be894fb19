import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import Recommender
from pyg_mmgef.nn.parts.embedding_parts import ItemPart
from pyg_mmgef.schema import item_modalities

__all__ = ['ContentParts']


class ContentParts:
    r"""The terms of items' embeddings in evaluation mode.

    They are those of the model itself, and those of what content says in their place:
    :math:`f(\mathbf{x}_i) = \mathbf{b} + \sum_m \mathbf{W}_m^{\top} \mathbf{x}^m_i`, each by its
    share; see :class:`~pyg_mmgef.nn.Recommender`.

    Args:
        model: The model, in evaluation mode.
        data: The train graph.
    """

    def __init__(self, model: Recommender, data: HeteroData) -> None:
        self.model, self.data = model, data
        self._whole: Tensor | None = None
        _, z_item, *_ = model.embed(data, None, None)
        ones = torch.ones(model.num_items, dtype=torch.double, device=z_item.device)
        self.own_share, self.content_share = ones, torch.zeros_like(ones)
        self._own = z_item
        if z_item.layout != torch.strided or not model._reads_content(data, None):
            return
        is_warm = model.is_warm(data)
        content = None if model.content_map is None else model._content_of(data, is_warm)
        self.is_warm = is_warm[:, 0]
        if content is None or model.content_map is None:
            self.own_share = torch.where(self.is_warm, ones, model.cold_scale)
            return
        self.content = content
        self.x = content.of(*item_modalities(data))
        fitted = model.content_map.fit(content.warm, z_item[self.is_warm])
        self.weight, self.bias = fitted.weight, fitted.bias
        share = torch.where(self.x.ne(0).any(dim=1), model.cold_scale, 0.0).double()
        if model.content_count > 0:
            count = model._num_interactions(data)[:, None]
            of_warm = model._share_of_content(fitted, self.x, count)[:, 0].double()
        else:
            of_warm = torch.zeros_like(share)
        self.content_share = torch.where(self.is_warm, of_warm, share)
        self.own_share = torch.where(self.is_warm, 1 - of_warm, 0.0)

    def __call__(self, items: Tensor) -> list[ItemPart] | None:
        """Return the terms of some items, or :obj:`None` if they are whole.

        Args:
            items: Distinct item ids in increasing order. Shape: ``[I]``.
        """
        own_share, content_share = self.own_share[items], self.content_share[items]
        reads_content, out = bool(content_share.any()), []
        if bool(own_share.any()):
            own = self.model.split_items(self.data, items)
            if own is None and not reads_content:
                return None
            if own is None:
                own = [ItemPart.of_rows('item', self._own[items])]
            out += [part.scaled(own_share) for part in own]
        if reads_content:
            out += [part.scaled(content_share) for part in self._of_content(items)]
        return out

    def _of_content(self, items: Tensor) -> list[ItemPart]:
        x, is_warm = self.x[items].double(), self.is_warm[items, None]
        rows = self.content.by_modality(x)
        named: dict[str | None, Tensor] = {name: row @ self.weight for name, row in rows.items()}
        named[None] = self.bias.expand(items.numel(), -1)
        out = []
        for name, z in named.items():
            z = torch.where(is_warm, z, self.model.adapt_cold(self.data, z))
            out.append(ItemPart.of_rows('average' if name is None else 'modality', z, name))
        return out
