from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Module, ModuleList, Parameter

from pyg_mmgef._describe import describe
from pyg_mmgef.nn._unit_length import usual_length
from pyg_mmgef.validate import check_channels, check_choice

__all__ = ['EarlyFusion', 'concat_fusion', 'mean_fusion']

MODES = ('mean', 'weighted', 'gated', 'concat')


def mean_fusion(x: Mapping[str, Tensor], has: Mapping[str, Tensor] | None = None) -> Tensor:
    r"""Average the unit vectors of the modalities that each item has.

    .. math::
        \mathbf{e}_i = \frac{1}{|\mathcal{M}_i|} \sum_{m \in \mathcal{M}_i}
        \frac{\mathbf{x}^m_i}{\lVert \mathbf{x}^m_i \rVert}

    This is MM-GEF's early fusion as we read it (`arXiv 2308.07222
    <https://arxiv.org/abs/2308.07222>`_): CLIP puts pictures and texts into one space, so they
    can be averaged directly.

    Args:
        x: Features per modality, all of the same width. Shape of each: ``[N, channels]``.
        has: Which items have the modality; one that is left out is present wherever its row isn't
            zero. Shape of each: ``[N]``, bool.

    Returns:
        Fused features; a zero row for an item without any modality. Shape: ``[N, channels]``.

    Raises:
        ValueError: If no modality is given, or widths, numbers of rows or masks don't fit.
    """
    unit, present = _unit_features(x, has)
    _check_one_width({name: row.size(1) for name, row in unit.items()}, 'mean')
    mask = torch.stack(list(present.values()), dim=1)
    return _weighted_sum(unit, _mean_weights(mask, next(iter(unit.values())).dtype))


def concat_fusion(x: Mapping[str, Tensor], has: Mapping[str, Tensor] | None = None) -> Tensor:
    """Put the unit vectors of the modalities side by side, for encoders that share no space.

    A missing modality leaves its channels at zero, so the cosine of two items only gathers the
    modalities that both have.

    Args:
        x: Features per modality. Shape of each: ``[N, channels of the modality]``.
        has: Which items have the modality, as in :func:`mean_fusion`.

    Returns:
        Fused features. Shape: ``[N, sum of channels]``.

    Raises:
        ValueError: If no modality is given, or numbers of rows or masks don't fit.
    """
    unit, _ = _unit_features(x, has)
    return torch.cat(list(unit.values()), dim=1)


class EarlyFusion(Module):
    r"""Fuse the features of several modalities into one vector per item.

    .. math::
        \mathbf{e}_i = \sum_{m \in \mathcal{M}_i} \beta^m_i
        \frac{\mathbf{x}^m_i}{\lVert \mathbf{x}^m_i \rVert}

    over the modalities :math:`\mathcal{M}_i` that item :math:`i` has. The modes of MM-GEF
    (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_; all but the first are our readings of
    an alternative):

    * ``'mean'``: :math:`\beta^m_i = 1 / |\mathcal{M}_i|`, see :func:`mean_fusion`;
    * ``'weighted'``: a softmax over one learned logit per modality;
    * ``'gated'``: a softmax over :math:`\mathbf{w}_m^{\top} \hat{\mathbf{x}}^m_i + b_m`, so each
      item weighs its own modalities;
    * ``'concat'``: no sum; the unit vectors side by side, see :func:`concat_fusion`.

    The learned modes start as the mean. A modality is missing where ``has`` says so, or where its
    row is zero; an item with none gets the zero vector.

    Args:
        in_channels: Channels of each modality. All but ``'concat'`` need them equal.
        mode: See above. (default: ``'mean'``)

    Shapes:
        - **input:** a dictionary of features :math:`(|\mathcal{I}|, F_m)` and, optionally, one of
          masks :math:`(|\mathcal{I}|)`
        - **output:** :math:`(|\mathcal{I}|, F)`, or :math:`(|\mathcal{I}|, \sum_m F_m)` for
          ``'concat'``

    Raises:
        ValueError: If :obj:`mode` is unknown, :obj:`in_channels` is empty, or widths differ.

    Example:
        >>> fusion = EarlyFusion({'image': 4, 'text': 4}, mode='weighted')
        >>> fusion({'image': torch.randn(3, 4), 'text': torch.randn(3, 4)}).shape
        torch.Size([3, 4])
    """

    def __init__(self, in_channels: Mapping[str, int], mode: str = 'mean') -> None:
        super().__init__()
        check_choice('mode', mode, MODES)
        check_channels('in_channels', in_channels)
        if mode != 'concat':
            _check_one_width(in_channels, mode)
        self.in_channels = dict(in_channels)
        self.mode = mode
        widths = list(in_channels.values())
        self.out_channels = sum(widths) if mode == 'concat' else widths[0]
        self.logit = Parameter(torch.empty(len(widths))) if mode == 'weighted' else None
        self.gate = ModuleList([Linear(width, 1) for width in widths]) if mode == 'gated' else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all learned weights to zero, which makes every learned mode the mean."""
        for parameter in self.parameters():
            torch.nn.init.zeros_(parameter)

    def weights(self, x: Mapping[str, Tensor], has: Mapping[str, Tensor] | None = None) -> Tensor:
        r"""Return :math:`\beta`, zero for missing modalities. Shape: ``[N, num_modalities]``."""
        if self.mode == 'concat':
            raise ValueError("mode='concat' has no weights")
        return self._weights(*_unit_features(self._selected(x), has))

    def forward(self, x: Mapping[str, Tensor], has: Mapping[str, Tensor] | None = None) -> Tensor:
        """Fuse the modalities.

        Args:
            x: Features per modality, under the names given at construction.
            has: Which items have the modality; one that is left out is present wherever its row
                isn't zero. Shape of each: ``[N]``, bool.

        Returns:
            Shape: ``[N, out_channels]``.

        Raises:
            ValueError: If a modality is missing from :obj:`x`, or shapes don't fit.
        """
        x = self._selected(x)
        if self.mode == 'mean':
            return mean_fusion(x, has)
        if self.mode == 'concat':
            return concat_fusion(x, has)
        unit, present = _unit_features(x, has)
        return _weighted_sum(unit, self._weights(unit, present))

    def parts(
        self, x: Mapping[str, Tensor], has: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Return what each modality adds to the result of :meth:`forward`.

        Args:
            x: Features per modality, as in :meth:`forward`.
            has: Which items have the modality, as in :meth:`forward`. (default: :obj:`None`)

        Returns:
            By modality. Shape of each: ``[N, out_channels]``.
        """
        unit, present = _unit_features(self._selected(x), has)
        if self.mode != 'concat':
            weight = self._weights(unit, present).unbind(dim=1)
            named = zip(unit.items(), weight, strict=True)
            return {name: row * w[:, None].to(row.dtype) for (name, row), w in named}
        out, start = {}, 0
        for name, row in unit.items():
            end = start + row.size(1)
            out[name] = F.pad(row, (start, self.out_channels - end))
            start = end
        return out

    def _selected(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        missing = [name for name in self.in_channels if name not in x]
        if missing:
            raise ValueError(f"'x' lacks the modalities {missing} (got {sorted(x)})")
        for name, width in self.in_channels.items():
            if x[name].size(-1) != width:
                raise ValueError(
                    f"'x' has {x[name].size(-1)} channels for {name!r}, but the layer was built "
                    f'for {width}'
                )
        return {name: x[name] for name in self.in_channels}

    def _weights(self, unit: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        mask = torch.stack(list(present.values()), dim=1)
        if self.gate is not None:
            gates = zip(self.gate, unit.values(), strict=True)
            logit = torch.cat([gate(row) for gate, row in gates], dim=1)
        elif self.logit is not None:
            logit = self.logit.expand_as(mask)
        else:
            return _mean_weights(mask, next(iter(unit.values())).dtype)
        # A finite fill keeps the row of an item without any modality free of NaN, in the backward
        # too; the mask then makes it zero.
        weight = logit.masked_fill(~mask, torch.finfo(logit.dtype).min).softmax(dim=1)
        return weight * mask

    def __repr__(self) -> str:
        return describe(self)


def _check_one_width(in_channels: Mapping[str, int], mode: str) -> None:
    if len(set(in_channels.values())) > 1:
        raise ValueError(
            f'{mode!r} fusion needs modalities of one width, in a space they share '
            f"(got channels {dict(in_channels)}); use 'concat' for encoders that share none"
        )


def _unit_features(
    x: Mapping[str, Tensor], has: Mapping[str, Tensor] | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return rows of unit length, zero where missing, and the masks of what is present."""
    if not x:
        raise ValueError("'x' is empty; give the features of at least one modality")
    num_items = next(iter(x.values())).size(0)
    unit, present = {}, {}
    for name, row in x.items():
        if row.dim() != 2 or row.size(0) != num_items or not row.is_floating_point():
            raise ValueError(
                f"'x' must hold floating point matrices with one row an item; {name!r} has shape "
                f'{list(row.shape)} and {row.dtype}, where the first modality has {num_items} rows'
            )
        mask = row.detach().ne(0).any(dim=1)
        if has is not None and has.get(name) is not None:
            if has[name].dtype != torch.bool or has[name].shape != mask.shape:
                raise ValueError(
                    f"'has' must hold a bool per item; {name!r} has shape "
                    f'{list(has[name].shape)} and {has[name].dtype}, for {num_items} items'
                )
            mask = mask & has[name]
        unit[name] = F.normalize(usual_length(row), dim=1).masked_fill(~mask[:, None], 0.0)
        present[name] = mask
    return unit, present


def _mean_weights(mask: Tensor, dtype: torch.dtype) -> Tensor:
    weight = mask.to(dtype)
    return weight / weight.sum(dim=1, keepdim=True).clamp(min=1)


def _weighted_sum(unit: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    columns = zip(unit.values(), weight.unbind(dim=1), strict=True)
    return torch.stack([row * column[:, None].to(row.dtype) for row, column in columns]).sum(dim=0)
