from collections.abc import Mapping

import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.catalog.fold_in import HistoryFoldIn
from pyg_mmgef.nn.models._solved import SolvedRecommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import UserParts, one_hot_parts
from pyg_mmgef.nn.parts.histories import histories
from pyg_mmgef.sparse._scipy import as_scipy
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_positive

__all__ = ['EASE']

MATRICES = 3  # Float64 matrices in memory at a time: the gram matrix, its factor, its inverse.


class EASE(SolvedRecommender[tuple[CSRPair, Tensor]]):
    r"""A linear autoencoder over the interactions, solved in closed form.

    .. math::
        \mathbf{G} = \mathbf{R}^{\top} \mathbf{R} + \lambda \mathbf{I}, \qquad
        \mathbf{P} = \mathbf{G}^{-1}, \qquad
        \mathbf{B} = \mathbf{I} - \mathbf{P} \, \mathrm{diag}(\mathbf{P})^{-1}, \qquad
        \hat{\mathbf{R}} = \mathbf{R} \mathbf{B}

    from `"Embarrassingly Shallow Autoencoders for Sparse Data" <https://arxiv.org/abs/1905.03375>`_
    (Eq. 8), where :math:`\mathbf{R}` has a row per user and a one for each item of the user's
    history. :math:`\mathbf{B}` is the matrix with a zero diagonal that reconstructs
    :math:`\mathbf{R}` best, with a penalty :math:`\lambda` on its entries. As embeddings,
    :math:`\mathbf{z}_u` is the user's row of :math:`\mathbf{R}`, a **sparse CSR tensor**, and
    :math:`\mathbf{z}_i` the item's column of :math:`\mathbf{B}`, with a channel per item. There is
    nothing to train. The matrix is computed in float64 on the CPU's or the device's cores, in
    time that grows with the cube of the number of items and in memory that grows with its square.

    A repeated interaction counts once. A cold item scores zero for everybody, unless its features
    stand in, see :class:`Recommender`.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        l2: The penalty :math:`\lambda`. The paper has 200 to 1,000. (default: ``300.0``)
        max_bytes: Most memory to use; with more items than that allows, the matrix isn't begun.
            (default: ``2**33``, enough for 18,900 items)

    Raises:
        ValueError: If a number isn't positive, there are too many items, or the data passed to
            :meth:`forward` has other numbers of users and items.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 0, 1], [0, 2, 2]])
        >>> z_user, z_item = EASE.from_data(data, l2=1.0)(data)
        >>> (z_user.to_dense() @ z_item.t()).mul(6).round()
        tensor([[2., 0., 3.],
                [2., 0., 0.]])
    """

    paper = 'https://arxiv.org/abs/1905.03375'
    year = 2019

    def __init__(
        self, num_users: int, num_items: int, *, l2: float = 300.0, max_bytes: int = 2**33
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('l2', l2, integer=False)
        check_positive('max_bytes', max_bytes)
        needed = MATRICES * 8 * num_items**2
        if needed > max_bytes:
            raise ValueError(
                f'{self.__class__.__name__} of {num_items} items takes {needed:,} bytes, more than '
                f"max_bytes={max_bytes:,}; allow more by 'max_bytes', or use ItemKNN or IALS, "
                'whose memory grows with the number of items, not with its square'
            )
        self.l2 = l2
        self.max_bytes = max_bytes

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the histories of users as a sparse CSR tensor, and columns of the matrix."""
        history, z_item = self._solution(data)
        return select(history.matrix(self.dtype), users), select(z_item, items).to(self.dtype)

    def fold_in(self, data: HeteroData) -> HistoryFoldIn:
        """Return what embeds new users, whose embeddings are their histories."""
        self.check_sizes(data)
        return HistoryFoldIn(num_items=self.num_items)

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return a vector for each of the user's items, which reads the weight of that item."""
        return one_hot_parts(self._solution(data)[0], user, self.dtype)

    def gram(self, data: HeteroData, history: sp.csr_array) -> Tensor:
        r"""Return the gram matrix of the items, without the penalty.

        Args:
            data: The train graph.
            history: :math:`\mathbf{R}`. Shape: ``[num_users, num_items]``.

        Returns:
            float64. Shape: ``[num_items, num_items]``.
        """
        return torch.from_numpy((history.T @ history).toarray())

    def _solve(self, data: HeteroData) -> tuple[CSRPair, Tensor]:
        pair = histories(data)
        gram = self.gram(data, as_scipy(pair.matrix(torch.float64))).to(pair.device)
        gram.diagonal().add_(self.l2)
        p = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        z_item = p.div_(-p.diagonal()[:, None].clone())
        z_item.fill_diagonal_(0.0)
        return pair, z_item.to(torch.promote_types(self.dtype, torch.float32))

    def _pack(self, solution: tuple[CSRPair, Tensor]) -> dict[str, Tensor]:
        return {'weight': solution[1]}  # Histories are those of the data.

    def _unpack(self, data: HeteroData, tensors: Mapping[str, Tensor]) -> tuple[CSRPair, Tensor]:
        return histories(data), tensors['weight']

    def _packed_shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {'weight': (self.num_items, self.num_items)}
