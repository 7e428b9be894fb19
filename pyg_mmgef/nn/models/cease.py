import scipy.sparse as sp
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.ease import EASE
from pyg_mmgef.nn.parts.content_features import ContentFeatures
from pyg_mmgef.schema import item_modalities
from pyg_mmgef.validate import check_not_negative

__all__ = ['CEASE']


class CEASE(EASE):
    r"""EASE whose autoencoder also reconstructs the items' features.

    .. math::
        \mathbf{G} = \mathbf{R}^{\top} \mathbf{R} + w \, \mathbf{X} \mathbf{X}^{\top} +
        \lambda \mathbf{I}

    in place of the gram matrix of :class:`EASE`: each channel of the features is one more row of
    :math:`\mathbf{R}`, as if a user had a history in it. From `"Closed-Form Models for
    Collaborative Filtering with Side-Information" <https://doi.org/10.1145/3383313.3418480>`_
    (RecSys 2020, Sec. 3.2). So an item without interactions has neighbours, those that look like
    it.

    **Deviation.** The paper's side information is a matrix of tags. Here :math:`\mathbf{X}` are the
    features of all modalities, see :class:`~pyg_mmgef.nn.parts.Content`.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        l2: The penalty :math:`\lambda`. (default: ``300.0``)
        max_bytes: Most memory to use, see :class:`EASE`. (default: ``2**33``)
        feature_weight: The weight :math:`w` of the features. (default: ``10.0``)

    Raises:
        ValueError: If a number is out of range, there are too many items, or the data passed to
            :meth:`forward` has no item features.
    """

    paper = 'https://doi.org/10.1145/3383313.3418480'
    year = 2020

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        l2: float = 300.0,
        max_bytes: int = 2**33,
        feature_weight: float = 10.0,
    ) -> None:
        super().__init__(num_users, num_items, l2=l2, max_bytes=max_bytes)
        check_not_negative('feature_weight', feature_weight)
        self.feature_weight = feature_weight

    def gram(self, data: HeteroData, history: sp.csr_array) -> Tensor:
        """Return the gram matrix of the interactions and the features."""
        content = ContentFeatures()(data, self.is_warm(data))
        if content is None:
            raise ValueError(
                "'data' has no item features, which CEASE needs; set data['item'].x_<modality>, "
                'or use EASE'
            )
        x = content.of(*item_modalities(data)).double().cpu()
        return super().gram(data, history).addmm_(x, x.t(), alpha=self.feature_weight)

    def _sources(self, data: HeteroData) -> list[Tensor]:
        x, has = item_modalities(data)
        return [*super()._sources(data), *x.values(), *has.values()]
