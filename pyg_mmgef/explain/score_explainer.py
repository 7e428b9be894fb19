from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.catalog.fold_in import FoldIn
from pyg_mmgef.explain._content_parts import ContentParts
from pyg_mmgef.explain.explanation import Explanation
from pyg_mmgef.explain.part import Part
from pyg_mmgef.nn import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import UserParts
from pyg_mmgef.validate import check_ids

__all__ = ['ScoreExplainer', 'explain_score']

ROUNDING = 1e-3
"""How far a sum in single precision may be from the score, as a share of the terms' size."""


class ScoreExplainer:
    r"""Splits the scores of a model into the parts that they are the sum of.

    The embeddings of all users and items are computed once, when it is built; so it explains the
    model and the data as they are then. Both splits are exact, as embeddings are sums:

    .. math::
        \mathbf{z}_u^{\top} \mathbf{z}_i = \sum_j \mathbf{p}_{uj}^{\top} \mathbf{z}_i
        = \sum_t \mathbf{z}_u^{\top} \mathbf{q}_{it}

    with the terms that :meth:`Recommender.split_user <pyg_mmgef.nn.Recommender.split_user>` and
    :meth:`Recommender.split_items <pyg_mmgef.nn.Recommender.split_items>` return. The embedding
    that :attr:`Recommender.content_map <pyg_mmgef.nn.Recommender.content_map>` gives a cold item,
    or a share of that of one with few interactions, is split by modality for any model.
    :class:`Explanation` lists all kinds of parts.

    A split is that of the formula, not of cause and effect: a user without one of the items would
    have other neighbours, too, and the model other parameters.

    Args:
        model: The model; it is explained in evaluation mode.
        data: The train graph, with what the model was built for.
        titles: The titles of all items by row, which explanations bring with them.
            (default: :obj:`None`)
        histories: The items of users who have the embedding of a fold-in, as they came after the
            model was trained, by the row of the user. (default: ``{}``)
        fold_in: What embeds these users; :obj:`None` is :meth:`Recommender.fold_in
            <pyg_mmgef.nn.Recommender.fold_in>`. (default: :obj:`None`)

    Raises:
        ValueError: If the data doesn't fit the model, or the model can't fold users in.

    Example:
        >>> from pyg_mmgef.nn import LightGCN
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])
        >>> (explanation,) = ScoreExplainer(LightGCN.from_data(data), data)(user=0, items=[2])
        >>> sorted(part.kind for part in explanation.by_user)
        ['history', 'history', 'user']
    """

    @torch.no_grad()
    def __init__(
        self,
        model: Recommender,
        data: HeteroData,
        titles: Sequence[str] | None = None,
        *,
        histories: Mapping[int, Tensor] | None = None,
        fold_in: FoldIn | None = None,
    ) -> None:
        model.check_sizes(data)
        self.model, self.data, self.titles = model, data, titles
        self.histories = histories or {}
        self.fold_in = model.fold_in(data) if self.histories and fold_in is None else fold_in
        training = model.training
        try:
            model.eval()
            self.z_user, self.z_item = model(data)
            self._content = ContentParts(model, data)
        finally:
            model.train(training)

    @property
    def splits_users(self) -> bool:
        """Whether scores are split by the user's side."""
        return self.model.split_user(self.data, 0) is not None

    @torch.no_grad()
    def __call__(self, user: int, items: Sequence[int] | Tensor) -> list[Explanation]:
        """Explain the scores of some items for a user.

        Args:
            user: The user's row.
            items: The items' rows.

        Raises:
            ValueError: If a row is out of range, or the model's scores don't split into parts.
        """
        model, device = self.model, self.z_user.device
        asked = torch.as_tensor(items, device=device)
        if asked.numel() == 0:
            return []
        check_ids('items', asked, model.num_items, 'item')
        users = torch.tensor([user], device=device)
        check_ids('user', users, model.num_users, 'user')
        rows, position = asked.long().unique(return_inverse=True)
        z_user = self._embedding(int(user), users)
        z_item = _dense(select(self.z_item, rows)).double()
        scores = z_item @ z_user
        training = model.training
        try:
            model.eval()
            by_user = self._by_user(int(user), z_item)
            by_item = self._by_item(rows, z_user)
        finally:
            model.train(training)
        if by_user is None and by_item is None:
            raise ValueError(
                f"the scores of {type(model).__name__} don't split into parts; those of LightGCN, "
                'MMGEF, IALS, ItemKNN and others do'
            )
        for split in (by_user, by_item):
            self._check(split, scores)
        nothing = [None] * rows.numel()
        found = [
            Explanation(int(user), item, score, of_user, of_item, self.titles)
            for item, score, of_user, of_item in zip(
                rows.tolist(), scores.tolist(), by_user or nothing, by_item or nothing, strict=True
            )
        ]
        return [found[place] for place in position.tolist()]

    def _embedding(self, user: int, users: Tensor) -> Tensor:
        if user not in self.histories:
            return _dense(select(self.z_user, users))[0].double()
        assert self.fold_in is not None
        z_user = self.fold_in.embed([self.histories[user].cpu().numpy()])
        return torch.from_numpy(z_user[0]).to(self.z_user.device).double()

    def _split_user(self, user: int) -> UserParts | None:
        """Return the terms of the user's embedding, by what made it."""
        if user not in self.histories:
            return self.model.split_user(self.data, user)
        assert self.fold_in is not None
        items = self.histories[user].unique()
        with suppress(ValueError):  # A network stands on top of a sum.
            parts = torch.from_numpy(self.fold_in.parts(items.cpu().numpy()))
            return UserParts(items, parts.to(self.z_user.device))
        return None

    def _by_user(self, user: int, z_item: Tensor) -> list[tuple[Part, ...]] | None:
        """Return the parts of each item's score by the user's side."""
        parts = self._split_user(user)
        if parts is None:
            return None
        history = (parts.history.double() @ z_item.t()).t().tolist()
        rest = {kind: (z_item @ row.double()).tolist() for kind, row in parts.rest.items()}
        owned = parts.items.tolist()
        return [
            _sorted(
                [Part('history', value, item) for item, value in zip(owned, row, strict=True)]
                + [Part(kind, values[place]) for kind, values in rest.items()]
            )
            for place, row in enumerate(history)
        ]

    def _by_item(self, items: Tensor, z_user: Tensor) -> list[tuple[Part, ...]] | None:
        """Return the parts of each item's score by the item's side."""
        if self.z_item.layout != torch.strided:
            return None
        terms = self._content(items)
        if terms is None:
            return None
        out: list[list[Part]] = [[] for _ in range(items.numel())]
        for term in terms:
            scores = term.scores(z_user).tolist()
            sources: Sequence[int | None] = [None] * len(scores)
            if term.kind == 'neighbours':
                sources = term.source.tolist()
            for place, source, score in zip(term.position.tolist(), sources, scores, strict=True):
                if score != 0:
                    out[place].append(Part(term.kind, score, source, term.name))
        return [_sorted(parts) for parts in out]

    def _check(self, split: list[tuple[Part, ...]] | None, scores: Tensor) -> None:
        """Raise a :class:`ValueError` unless the parts add up; those of one's own model may not."""
        for parts, score in zip(split or [], scores.tolist(), strict=False):
            size = abs(score) + sum(abs(part.score) for part in parts)
            if abs(sum(part.score for part in parts) - score) > ROUNDING * size:
                raise ValueError(
                    f'the parts of {type(self.model).__name__} add up to '
                    f'{sum(part.score for part in parts):.6g}, but the score is {score:.6g}; '
                    "'split_user', 'split_items' and 'adapt_cold' must be linear and complete"
                )


def explain_score(model: Recommender, data: HeteroData, user: int, item: int) -> Explanation:
    """Explain the score of an item for a user, see :class:`ScoreExplainer`.

    It computes the embeddings of all users and items; to explain several scores, build a
    :class:`ScoreExplainer` once.

    Args:
        model: The model; it is explained in evaluation mode.
        data: The train graph.
        user: The user's row.
        item: The item's row.

    Raises:
        ValueError: If the data doesn't fit the model, a row is out of range, or the model's scores
            don't split into parts.
    """
    return ScoreExplainer(model, data)(user, [item])[0]


def _dense(rows: Tensor) -> Tensor:
    return rows if rows.layout == torch.strided else rows.to_dense()


def _sorted(parts: list[Part]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda part: -part.score))
