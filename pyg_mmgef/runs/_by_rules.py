"""Recommendations by business rules."""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog import Catalog, Rules, item_covariance, score_spread
from pyg_mmgef.ranking._inputs import check_embeddings, pair_keys
from pyg_mmgef.ranking._sparse_scores import SparseScores
from pyg_mmgef.ranking.recommend import Recommendations
from pyg_mmgef.ranking.scoring import TopItems
from pyg_mmgef.sparse._csr import csr_tensor
from pyg_mmgef.sparse._scipy import as_scipy
from pyg_mmgef.validate import check_positive

__all__ = ['RankingByRules', 'recommend_by_rules']

_BLOCK = 2**25  # scores held at a time
_USERS = 2048  # users ranked at a time


def recommend_by_rules(
    z_user: Tensor,
    z_item: Tensor,
    users: Tensor | None,
    rules: Rules,
    catalog: Catalog,
    *,
    k: int,
    seen: Tensor,
) -> Recommendations:
    """Recommend items by business rules, see :class:`RankingByRules`.

    Args:
        z_user: User embeddings, dense or CSR. Shape: ``[num_users, channels]``.
        z_item: Item embeddings, CSR only where :obj:`z_user` is. Shape: ``[num_items, channels]``.
        users: Users to recommend to; :obj:`None` means all. Shape: ``[N]``.
        rules: The rules.
        catalog: The items.
        k: Number of items for each user.
        seen: Interactions whose items aren't recommended to the user, unless
            :attr:`~pyg_mmgef.catalog.Rules.repeat` is set. Shape: ``[2, E]``.

    Raises:
        ValueError: If :obj:`k` isn't positive, the rules don't fit the catalog, or embeddings
            can't be compared.
    """
    users = torch.arange(z_user.size(0), device=z_user.device) if users is None else users
    return RankingByRules(z_user, z_item, users, rules, catalog, k=k, seen=seen)(users)


class RankingByRules:
    r"""Recommends items by business rules; the lists are exact, as of a ranking of all items.

    A boost adds a channel to the embeddings: :math:`(z_u, \sigma_u)` and :math:`(z_i, b_i)`, see
    :func:`~pyg_mmgef.catalog.score_spread`. What doesn't depend on the users is prepared once.

    Args:
        z_user: User embeddings, dense or CSR. Shape: ``[num_users, channels]``.
        z_item: Item embeddings, CSR only where :obj:`z_user` is. Shape: ``[num_items, channels]``.
        users: All users that will be asked for. Shape: ``[N]``.
        rules: The rules.
        catalog: The items.
        k: Number of items for each user.
        seen: Interactions whose items aren't recommended to the user, unless
            :attr:`~pyg_mmgef.catalog.Rules.repeat` is set. Shape: ``[2, E]``.

    Raises:
        ValueError: If :obj:`k` isn't positive, the rules don't fit the catalog, or embeddings
            can't be compared.
    """

    def __init__(
        self,
        z_user: Tensor,
        z_item: Tensor,
        users: Tensor,
        rules: Rules,
        catalog: Catalog,
        *,
        k: int,
        seen: Tensor,
    ) -> None:
        if rules.diversity and (z_item.layout != torch.strided or z_item.size(1) == 1):
            raise ValueError(
                f'{spelt("diversity")} compares embeddings of items, and this model has none; '
                'leave it out, or train another model'
            )
        check_positive('k', k)
        self._rules, self._catalog, self._k, self._seen = rules, catalog, k, seen
        self._allowed = rules.allowed(catalog)
        self._candidates = torch.from_numpy(np.flatnonzero(self._allowed))
        self._vectors = z_item.float().cpu().numpy() if rules.diversity else None
        self._pins = torch.from_numpy(catalog.rows_of(rules.pin, 'pin'))
        if rules.boost:
            z_user, z_item = _boosted(z_user, z_item, users, rules.boosts(catalog))
        check_embeddings(z_user, z_item)
        excluded = pair_keys('seen', None if rules.repeat else seen, z_user, z_item)
        self._z_user, self._z_item = z_user, z_item
        self._top = TopItems(z_user, z_item, excluded, self._candidates.to(z_item.device))

    @torch.no_grad()
    def __call__(self, users: Tensor) -> Recommendations:
        """Return scores, which hold the boosts, and items of some of the users.

        Args:
            users: The users. Shape: ``[N]``.

        Returns:
            Both of shape ``[N, k]``; ``-inf`` and -1 where there are no more.
        """
        if len(self._candidates) == 0:
            nothing = torch.full((len(users), self._k), -1)
            return Recommendations(
                torch.full_like(nothing, -torch.inf, dtype=torch.float32), nothing
            )

        def search(places: NDArray[np.int64], depth: int) -> tuple[ArrayLike, ArrayLike]:
            some = users[torch.from_numpy(places).to(users.device)]
            scores, items = self._top(some, min(depth, len(self._candidates)), _USERS)
            return items.cpu().numpy(), scores.cpu().numpy()

        shown = self._rules.choose(
            self._catalog,
            search,
            len(users),
            self._k,
            pin_scores=self._pin_scores(users),
            vectors=self._vectors,
            allowed=self._allowed,
        )
        scores = torch.from_numpy(shown.scores).to(torch.float32)
        return Recommendations(scores, torch.from_numpy(shown.items))

    def _pin_scores(self, users: Tensor) -> Tensor:
        """Return the scores of the pinned items, NaN where the user isn't shown one."""
        scores = _scores(self._z_user, self._z_item, users, self._pins.to(self._z_item.device))
        for column, pin in enumerate(() if self._rules.repeat else self._pins):
            own = self._seen[0, self._seen[1] == pin]
            scores[torch.isin(users, own.to(users.device)).cpu(), column] = torch.nan
        return scores


def _boosted(
    z_user: Tensor, z_item: Tensor, users: Tensor, boosts: NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    """Return embeddings with a channel more, whose products are the boosts of some users."""
    unit = np.ones(z_user.size(0))
    if z_user.layout == torch.strided:
        unit = score_spread(
            z_user.double().cpu().numpy(), item_covariance(z_item.double().cpu().numpy())
        )
    else:
        every = torch.arange(z_item.size(0), device=z_item.device)
        for some in users.split(max(1, _BLOCK // max(1, z_item.size(0)))):
            spread = _scores(z_user, z_item, some, every).double().std(dim=1, correction=0)
            unit[some.cpu()] = torch.where(spread > 0, spread, 1)
    return _with_channel(z_user, unit), _with_channel(z_item, boosts)


def _with_channel(z: Tensor, values: NDArray[np.float64]) -> Tensor:
    column = torch.from_numpy(values).to(z.device, z.dtype)[:, None]
    if z.layout == torch.strided:
        return torch.cat([z, column], dim=1)
    longer = sp.hstack([as_scipy(z), sp.csr_array(column.cpu().numpy())], format='csr')
    pointer, index = (torch.from_numpy(a).long() for a in (longer.indptr, longer.indices))
    return csr_tensor(pointer, index, torch.from_numpy(longer.data), longer.shape).to(z.device)


def _scores(z_user: Tensor, z_item: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """Return the scores of some users and items, on the CPU."""
    if z_user.layout == torch.strided:
        return (z_user[users] @ z_item[items].t()).float().cpu()
    return SparseScores(z_user, z_item, items)(users).cpu()
