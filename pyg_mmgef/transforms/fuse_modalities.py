from collections.abc import Sequence

from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_mmgef._describe import describe
from pyg_mmgef.nn.fusion.early_fusion import concat_fusion, mean_fusion
from pyg_mmgef.schema import ITEM, item_modalities
from pyg_mmgef.validate import check_choice, check_finite

__all__ = ['FuseModalities']

FUSIONS = {'mean': mean_fusion, 'concat': concat_fusion}


@functional_transform('fuse_modalities')
class FuseModalities(BaseTransform):
    r"""Fuse the item features ``x_<modality>`` into one vector ``x`` per item.

    .. math::
        \mathbf{e}_i = \frac{1}{|\mathcal{M}_i|} \sum_{m \in \mathcal{M}_i}
        \frac{\mathbf{x}^m_i}{\lVert \mathbf{x}^m_i \rVert}

    This is MM-GEF's early fusion (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_); it uses
    the masks ``has_<modality>``. See :func:`~pyg_mmgef.nn.fusion.mean_fusion` and, for encoders
    that share no space, :func:`~pyg_mmgef.nn.fusion.concat_fusion`. The layer
    :class:`~pyg_mmgef.nn.EarlyFusion` also learns fusions. How features were fused is recorded as
    ``data['item'].fusion``, a dictionary with the keys ``'mode'`` and ``'modalities'``, so that a
    model can do the same.

    Args:
        fusion: ``'mean'`` or ``'concat'``. (default: ``'mean'``)
        modalities: The modalities to fuse, in this order; :obj:`None` means all that the data
            has. (default: :obj:`None`)

    Raises:
        ValueError: If :obj:`fusion` is unknown, :obj:`modalities` is empty or a single string, a
            modality is missing, features aren't finite, or widths differ for ``'mean'``.
    """

    def __init__(self, fusion: str = 'mean', modalities: Sequence[str] | None = None) -> None:
        check_choice('fusion', fusion, tuple(FUSIONS))
        if modalities is not None and (isinstance(modalities, str) or len(modalities) == 0):
            raise ValueError(
                f"'modalities' must be names such as ('image', 'text') (got {modalities!r}); "
                'None fuses all'
            )
        self.fusion = fusion
        self.modalities = None if modalities is None else tuple(dict.fromkeys(modalities))

    def forward(self, data: HeteroData) -> HeteroData:
        """Set ``data['item'].x`` and ``data['item'].fusion``."""
        x, has = item_modalities(data)
        names = self.modalities or tuple(x)
        missing = [name for name in names if name not in x]
        if missing or not names:
            raise ValueError(
                f"'data' lacks item features for {missing or 'every modality'} (found "
                f"{sorted(x)}); set data['item'].x_<modality>"
            )
        for name in names:
            check_finite(f'x_{name}', x[name])
        data[ITEM].x = FUSIONS[self.fusion]({name: x[name] for name in names}, has)
        data[ITEM].fusion = {'mode': self.fusion, 'modalities': list(names)}
        return data

    def __repr__(self) -> str:
        return describe(self)
