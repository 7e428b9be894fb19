from torch import Tensor
from torch.nn import Module

from pyg_mmgef._describe import describe
from pyg_mmgef.nn.loss.info_nce import info_nce
from pyg_mmgef.nn.parts._id_rows import distinct, restore, select
from pyg_mmgef.schema import ITEM, USER
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_fraction, check_positive

__all__ = ['NeighborContrastLoss']


class NeighborContrastLoss(Module):
    r"""NLGCL's term: what a node receives in a layer resembles its neighbour in the layer before.

    .. math::
        \mathcal{L} &= \sum_{l=1}^{L} \left[ \alpha \, \ell \left( \mathbf{z}^{(l)}_i,
        \mathbf{z}^{(l-1)}_u \right) + (1 - \alpha) \, \ell \left( \mathbf{z}^{(l)}_u,
        \mathbf{z}^{(l-1)}_i \right) \right], \qquad
        \mathbf{Z}^{(l)}_{\mathcal{I}} = \mathbf{A} \mathbf{Z}^{(l-1)}_{\mathcal{U}}, \quad
        \mathbf{Z}^{(l)}_{\mathcal{U}} = \mathbf{A}^{\top} \mathbf{Z}^{(l-1)}_{\mathcal{I}} \\
        \ell(\mathbf{a}, \mathbf{b}) &= -\operatorname*{mean}_{p} \ln
        \frac{\exp(\cos(\mathbf{a}_p, \mathbf{b}_p) / \tau)}
        {\sum_{p'} \exp(\cos(\mathbf{a}_p, \mathbf{b}_{p'}) / \tau)}

    from `"NLGCL: Naturally Existing Neighbor Layers Graph Contrastive Learning for Recommendation"
    <https://arxiv.org/abs/2507.07522>`_, and of `NLGCL+ <https://doi.org/10.1145/3806231>`_, which
    adds it to multimodal models. A positive pair :math:`p` is a user and an item of the batch; the
    negatives are the other rows of the batch on the same side, and no view is augmented. It is
    added to the loss of any model that propagates over interactions, with a weight:

    .. code-block:: python

        lightgcn = model.light_gcn  # Of FREEDOM, MGCN, SMORE, ...; or a LightGCN itself.
        loss = model.loss(data, users, items, negatives, BPRLoss())
        loss = loss + 0.2 * contrast(
            lightgcn.interaction_graph(data),
            lightgcn.user_embedding.weight,
            lightgcn.item_embedding.weight,
            users,
            items,
        )

    **Deviations.** The authors' code sums over the batch, with weights from ``1e-6`` to ``1e-4``;
    ours is a mean, so 0.2 is the same as their ``5e-5`` with 4096 pairs. As with them, a user
    or item that is in the batch twice is two rows. NLGCL+ also weighs samples adaptively, which
    its public FREEDOM doesn't, and neither does this.

    Args:
        num_layers: Layers :math:`L` that are compared with the one before. (default: ``2``)
        temperature: The temperature :math:`\tau`. (default: ``0.1``)
        user_share: The weight :math:`\alpha` of the terms that tell users apart; the rest is of
            those that tell items apart. (default: ``0.6``)

    Shapes:
        - **input:** the normalised graph user → item, layer 0 of all users :math:`(U, F)` and of
          all items :math:`(I, F)`, and the ids of the positive pairs :math:`(B)` and :math:`(B)`
        - **output:** a scalar

    Raises:
        ValueError: If a number is out of range, ids are, or shapes don't fit.

    Example:
        >>> graph = CSRPair(torch.tensor([[0, 1], [0, 1]]), size=(2, 2))
        >>> x, ids = torch.eye(2), torch.tensor([0, 1])
        >>> NeighborContrastLoss(num_layers=1, temperature=1.0)(graph, x, x, ids, ids)
        tensor(0.3133)
    """

    def __init__(
        self, num_layers: int = 2, temperature: float = 0.1, user_share: float = 0.6
    ) -> None:
        super().__init__()
        check_positive('num_layers', num_layers)
        check_positive('temperature', temperature, integer=False)
        check_fraction('user_share', user_share)
        self.num_layers = num_layers
        self.temperature = temperature
        self.user_share = user_share

    def forward(
        self, graph: CSRPair, x_user: Tensor, x_item: Tensor, users: Tensor, items: Tensor
    ) -> Tensor:
        """Return the term of a batch of pairs; the class docstring has the shapes."""
        graph.check_ends(x_user, x_item)
        if users.shape != items.shape or users.dim() != 1:
            raise ValueError(
                f"'users' and 'items' must both have shape [B] (got {list(users.shape)} and "
                f'{list(items.shape)})'
            )
        user_rows, user_position = distinct('users', users, graph.size[0], USER)
        item_rows, item_position = distinct('items', items, graph.size[1], ITEM)
        batch_user = restore(select(x_user, user_rows), user_position)
        batch_item = restore(select(x_item, item_rows), item_position)
        loss = x_user.new_zeros(())
        for layer in range(1, self.num_layers + 1):
            is_last = layer == self.num_layers  # Of the last layer, only the batch is computed.
            x_user, x_item = (
                graph.t().matmul(x_item, rows=user_rows if is_last else None),
                graph.matmul(x_user, rows=item_rows if is_last else None),
            )
            next_user = restore(x_user if is_last else select(x_user, user_rows), user_position)
            next_item = restore(x_item if is_last else select(x_item, item_rows), item_position)
            of_users = info_nce(next_item, batch_user, self.temperature)
            of_items = info_nce(next_user, batch_item, self.temperature)
            loss = loss + self.user_share * of_users + (1 - self.user_share) * of_items
            batch_user, batch_item = next_user, next_item
        return loss

    def __repr__(self) -> str:
        return describe(self)
