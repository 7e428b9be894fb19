import torch
from torch import Tensor
from torch.nn import Linear, Module, Parameter

from pyg_mmgef._describe import describe
from pyg_mmgef.validate import check_choice, check_positive

__all__ = ['SoftEdgeFusion']

MODES = ('graph', 'node', 'edge', 'mean')


class SoftEdgeFusion(Module):
    r"""Merge several item graphs into one by soft attention over the graphs.

    On the union of all edge sets (:func:`~pyg_mmgef.graph.union_graphs`), with
    :math:`s^g_{j \to i}` the weight that graph :math:`g` gives to an edge, zero if it lacks it,

    .. math::
        w_{j \to i} = \sum_g \alpha^g s^g_{j \to i}, \qquad
        \boldsymbol{\alpha} = \mathrm{softmax}(\boldsymbol{\ell})

    from MM-GEF (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_). The paper leaves the
    form of the logits open; our readings are

    * ``'graph'``: one learned logit per graph, :math:`\boldsymbol{\ell} = \mathbf{a}`;
    * ``'node'``: one set per destination item,
      :math:`\boldsymbol{\ell}_i = \mathbf{W} \mathbf{x}_i + \mathbf{a}`;
    * ``'edge'``: one set per edge, from both ends,
      :math:`\boldsymbol{\ell}_{j \to i} = \mathbf{W} \mathbf{x}_i + \mathbf{V} \mathbf{x}_j
      + \mathbf{a}`;
    * ``'mean'``: no attention, the plain average; the ablation.

    All learned weights start at zero, so every mode starts as the plain average.

    Args:
        num_graphs: Number of graphs to merge.
        mode: See above. (default: ``'graph'``)
        in_channels: Channels of the item features, for ``'node'`` and ``'edge'``.
            (default: :obj:`None`)

    Shapes:
        - **input:** edge indices :math:`(2, |\mathcal{E}|)`, edge weights
          :math:`(|\mathcal{E}|, G)`, item features :math:`(|\mathcal{I}|, F)` *(optional)*
        - **output:** edge weights :math:`(|\mathcal{E}|)`

    Raises:
        ValueError: If :obj:`mode` is unknown, :obj:`num_graphs` is not positive, or
            :obj:`in_channels` is missing.

    Example:
        >>> edge_index = torch.tensor([[0, 1], [1, 0]])
        >>> edge_attr = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
        >>> SoftEdgeFusion(num_graphs=2, mode='mean')(edge_index, edge_attr)
        tensor([0.5000, 0.5000])
    """

    def __init__(
        self, num_graphs: int, mode: str = 'graph', in_channels: int | None = None
    ) -> None:
        super().__init__()
        check_positive('num_graphs', num_graphs)
        check_choice('mode', mode, MODES)
        if mode in ('node', 'edge') and in_channels is None:
            raise ValueError(
                f"'in_channels' is needed for mode={mode!r}, which reads item features"
            )
        self.num_graphs = num_graphs
        self.mode = mode
        self.in_channels = in_channels
        self.logit: Tensor
        if mode == 'mean':  # Zeros stay, and average exactly in whatever type the module has.
            self.register_buffer('logit', torch.empty(num_graphs), persistent=False)
        else:
            self.logit = Parameter(torch.empty(num_graphs))
        self.lin_dst: Linear | None = None
        self.lin_src: Linear | None = None
        if in_channels is not None and mode in ('node', 'edge'):
            self.lin_dst = Linear(in_channels, num_graphs, bias=False)
            self.lin_src = Linear(in_channels, num_graphs, bias=False) if mode == 'edge' else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all weights to zero: the plain average."""
        for weight in (*self.parameters(), *self.buffers()):
            torch.nn.init.zeros_(weight)

    def alpha(self, edge_index: Tensor, x: Tensor | None = None) -> Tensor:
        r"""Return the attention :math:`\boldsymbol{\alpha}`, which sums to one over the graphs.

        Args:
            edge_index: Edges of the union; read only by ``'edge'``. Shape: ``[2, E]``.
            x: Item features; read only by ``'node'`` and ``'edge'``. Shape: ``[N, in_channels]``.

        Returns:
            Shape: ``[1, num_graphs]``, ``[N, num_graphs]`` for ``'node'`` or ``[E, num_graphs]``
            for ``'edge'``.

        Raises:
            ValueError: If :obj:`x` is missing or of another width.
        """
        if self.mode != 'edge':
            return self.node_alpha(x)
        assert self.lin_dst is not None
        assert self.lin_src is not None
        x, (source, destination) = self._checked(x), edge_index
        logit = self.logit + self.lin_dst(x)[destination] + self.lin_src(x)[source]
        return logit.softmax(dim=-1)

    def _checked(self, x: Tensor | None) -> Tensor:
        if x is None or x.size(-1) != self.in_channels:
            found = None if x is None else list(x.shape)
            raise ValueError(
                f"'x' must have shape [N, {self.in_channels}] for mode={self.mode!r} (got {found})"
            )
        return x

    def forward(self, edge_index: Tensor, edge_attr: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the fused edge weights.

        Args:
            edge_index: Edges of the union. Shape: ``[2, E]``.
            edge_attr: The weight of each edge in each graph. Shape: ``[E, num_graphs]``.
            x: Item features, for ``'node'`` and ``'edge'``. Shape: ``[N, in_channels]``.

        Returns:
            Shape: ``[E]``.

        Raises:
            ValueError: If shapes don't fit or :obj:`x` is missing.
        """
        if edge_attr.shape != (edge_index.size(1), self.num_graphs):
            raise ValueError(
                f"'edge_attr' must have shape [{edge_index.size(1)}, {self.num_graphs}], one "
                f'weight per edge and graph (got {list(edge_attr.shape)})'
            )
        alpha = self.alpha(edge_index, x)
        if self.mode == 'node':
            alpha = alpha[edge_index[1]]
        return (alpha.to(edge_attr.dtype) * edge_attr).sum(dim=-1)

    def node_alpha(self, x: Tensor | None = None) -> Tensor:
        r"""Return the attention where it is the same for all edges into an item.

        Then it may as well weigh what has arrived over each graph, :math:`\mathbf{A} \mathbf{x} =
        \sum_g \boldsymbol{\alpha}^g \odot \mathbf{A}^g \mathbf{x}`, which needs no union of the
        graphs and no gradient per edge.

        Args:
            x: Features of the destination items; read only by ``'node'``.
                Shape: ``[N, in_channels]``. (default: :obj:`None`)

        Returns:
            Shape: ``[1, num_graphs]``, or ``[N, num_graphs]`` for ``'node'``.

        Raises:
            ValueError: For ``'edge'``, or if :obj:`x` is missing or of another width.
        """
        if self.mode == 'edge':
            raise ValueError("mode='edge' has no attention per node; call 'alpha'")
        logit = self.logit[None, :]
        if self.lin_dst is not None:
            logit = logit + self.lin_dst(self._checked(x))
        return logit.softmax(dim=-1)

    def __repr__(self) -> str:
        return describe(self)
