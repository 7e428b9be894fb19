import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog import Catalog, ContentWeights, Rules
from pyg_mmgef.catalog.fold_in import FoldIn
from pyg_mmgef.datasets import IdMap
from pyg_mmgef.explain import Explanation, ScoreExplainer
from pyg_mmgef.nn import IALS, Recommender
from pyg_mmgef.ranking import Groups, TopLists, choose_cold_scale, recommend
from pyg_mmgef.ranking.metrics import METRICS
from pyg_mmgef.ranking.top_lists import DEFAULT, checked_metrics
from pyg_mmgef.runs._by_rules import recommend_by_rules
from pyg_mmgef.runs._catalog import catalog_of
from pyg_mmgef.runs._extended import extended
from pyg_mmgef.runs._ids import as_edges, as_lists, row_of, rows_of
from pyg_mmgef.runs._new_items import new_items
from pyg_mmgef.runs._run_lists import Part, run_groups, run_lists
from pyg_mmgef.runs._say import say_if
from pyg_mmgef.runs.item_table import ItemTable
from pyg_mmgef.runs.models import build_model
from pyg_mmgef.runs.run_data import Source
from pyg_mmgef.runs.run_folder import RunFolder
from pyg_mmgef.runs.sizes import sampled_users
from pyg_mmgef.runs.splits import Split, split_data
from pyg_mmgef.schema import (
    INTERACTS,
    ITEM,
    interactions,
    item_modalities,
    item_relations,
    num_users_items,
    supervision_edges,
)
from pyg_mmgef.search import similar_items
from pyg_mmgef.settings import Settings

__all__ = ['Run', 'RunParts', 'fitting_cutoffs']

CUTOFFS = 10, 20


def fitting_cutoffs(num_items: int) -> tuple[int, ...]:
    """Return the default cut-offs of the metrics, at most the number of items to rank."""
    return tuple(sorted({min(k, num_items) for k in CUTOFFS}))


class RunParts(NamedTuple):
    """A trained model and the parts of the split."""

    model: Recommender
    """The model, in evaluation mode."""
    train: HeteroData
    """The train graph, with the item graphs that the model needs."""
    val: HeteroData
    """The validation part; its held-out interactions are ``edge_label_index``."""
    test: HeteroData
    """The test part, likewise."""


class Run:
    """A trained model with its data, which recommends in the ids of your tables.

    :func:`pyg_mmgef.fit` returns it, and :meth:`load` reads it from a folder. What isn't needed
    isn't computed: a run that was loaded only to recommend builds neither item graphs nor a model.

    .. code-block:: python

        run = fit('shop')
        run.recommend('anna')
        run.similar('i7', k=5)
        run.metrics['test_recall@10']
        run.save('runs/first')

    Args:
        source: The dataset.
        settings: Completed settings.
        metrics: The metrics. (default: ``{}``)
        parts: The trained model and the split; :obj:`None` loads them from the folder when they
            are first needed. (default: :obj:`None`)
        history: The loss and the metrics of each epoch; :obj:`None` loads them likewise.
            (default: :obj:`None`)
        folder: The folder of the run. (default: :obj:`None`)
        base: A run whose model this one has, for a dataset with rows behind those of its own.
            (default: :obj:`None`)
    """

    source: Source
    """The dataset, with all its interactions."""
    settings: Settings
    """What determines the run, beside the dataset."""
    metrics: dict[str, Any]
    """The metrics on validation (``'val_recall@20'``) and test (``'test_recall@20'``), those of
    the ``'baselines'`` on test, and the numbers of epochs."""
    folder: RunFolder | None
    """The folder of the run, :obj:`None` if it is in memory only."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        metrics: dict[str, Any] | None = None,
        *,
        parts: RunParts | None = None,
        history: Sequence[dict[str, float]] | None = None,
        folder: RunFolder | None = None,
        base: 'Run | None' = None,
    ) -> None:
        self.source, self.settings, self.folder = source, settings, folder
        self.metrics = {} if metrics is None else metrics
        self._base = base
        self._repeated: Settings | None = None
        if parts is not None:
            self._parts, self.split = parts, (parts.train, parts.val, parts.test)
        if history is not None:
            self.history = list(history)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], dataset: str | os.PathLike[str] | None = None
    ) -> 'Run':
        """Load a run from its folder.

        Args:
            folder: The folder, as :meth:`save`, :func:`pyg_mmgef.fit` or ``pyg-mmgef train`` wrote
                it.
            dataset: The folder of its dataset; :obj:`None` means the copy within the run.
                (default: :obj:`None`)

        Raises:
            FileNotFoundError: If there is no run, or no epoch is finished yet.
            ValueError: If the run or its dataset is damaged, or it is another dataset.
        """
        run = RunFolder(Path(folder).expanduser())
        run.check_is_trained()
        source = run.dataset(None if dataset is None else Path(dataset).expanduser())
        return cls(source, run.settings, run.metrics, folder=run)

    def save(self, folder: str | os.PathLike[str]) -> 'Run':
        """Write the run to a folder, with its dataset, so that it needs nothing else.

        Args:
            folder: The folder; it must not hold another run.

        Returns:
            The run as :meth:`load` returns it.

        Raises:
            ValueError: If the folder holds another run, or a dataset.
        """
        path = Path(folder).expanduser()
        saved = RunFolder.start(path, self.source, self.settings, repeated=self._repeats)
        if self.model.has_parameters:
            saved.save_parameters(self.model, self.history)
        saved.finish(self.metrics, self.embeddings, self.fold_in_if_any(), self.model, self.history)
        return type(self).load(path)

    @cached_property
    def _parts(self) -> RunParts:
        train, model = build_model(self.settings, self.split[0])
        if self._base is not None:
            train, model = _with_new_items(self._base, train)
        else:
            assert self.folder is not None
            self.folder.load_parameters(model)
        return RunParts(model.eval(), train, *self.split[1:])

    @cached_property
    def split(self) -> Split:
        """The train, validation and test data, without the graphs that the model needs."""
        return split_data(self.settings, self.source.data())

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The loss and the metrics on validation of each epoch."""
        return [] if self.folder is None else self.folder.history()

    @property
    def model(self) -> Recommender:
        """The trained model, in evaluation mode."""
        return self._parts.model

    @property
    def train(self) -> HeteroData:
        """The train graph, with the item graphs that the model needs."""
        return self._parts.train

    @property
    def val(self) -> HeteroData:
        """The validation part; its held-out interactions are ``edge_label_index``."""
        return self.split[1]

    @property
    def test(self) -> HeteroData:
        """The test part; its held-out interactions are ``edge_label_index``."""
        return self.split[2]

    @cached_property
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """The embeddings of all users and items, see :attr:`z_user` and :attr:`z_item`."""
        stored = None if self.folder is None else self.folder.embeddings()
        if stored is not None:
            return stored
        with torch.inference_mode():
            return self.model(self.train)

    @property
    def z_user(self) -> Tensor:
        """The embeddings of the users; sparse CSR for some models. Shape: ``[U, channels]``."""
        return self.embeddings[0]

    @property
    def z_item(self) -> Tensor:
        """The embeddings of the items; sparse CSR for some models. Shape: ``[I, channels]``."""
        return self.embeddings[1]

    @property
    def user_ids(self) -> IdMap:
        """The ids of the users, in the order of their rows."""
        return self.source.user_ids

    @property
    def item_ids(self) -> IdMap:
        """The ids of the items, in the order of their rows."""
        return self.source.item_ids

    @property
    def name(self) -> str:
        """The name of the dataset's folder, or ``'data'`` if it was never in one."""
        path = None if self.folder is None else self.folder.config['dataset']['path']
        return 'data' if path is None else Path(path).name

    @cached_property
    def catalog(self) -> Catalog:
        """What is known of the items, for :class:`~pyg_mmgef.catalog.Rules`."""
        return catalog_of(self.item_ids, self.items)

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """``'text'``, ``'image'`` and ``'fields'`` of each item, as in your table."""
        return self.source.items()

    @cached_property
    def titles(self) -> list[str | None]:
        """The title of each item: its first text column."""
        return [next(iter(item['fields'].values()), item['text']) for item in self.items]

    def seen(self, *parts: str) -> Tensor:
        """Return the interactions of train and of the named parts.

        Args:
            *parts: ``'val'`` or ``'test'``.

        Returns:
            Shape: ``[2, E]``.
        """
        held_out = {'val': self.val, 'test': self.test}
        others = [held_out[part][INTERACTS].edge_label_index for part in parts]
        return torch.cat([self.split[0][INTERACTS].edge_index, *others], dim=1)

    @cached_property
    def all_interactions(self) -> Tensor:
        """The interactions of the dataset, those held out and of new users included.

        Shape: ``[2, E]``.
        """
        return interactions(self.source.data())

    def evaluate(
        self,
        part: Part = 'test',
        k: Sequence[int] | None = None,
        metrics: str | Sequence[str] = DEFAULT,
    ) -> dict[str, float]:
        """Return the metrics of validation or test, from a ranking of all unseen items.

        Args:
            part: ``'val'`` or ``'test'``. (default: ``'test'``)
            k: The cut-offs; :obj:`None` means 10 and 20, at most the number of items.
                (default: :obj:`None`)
            metrics: Names of metrics, see :class:`~pyg_mmgef.ranking.TopLists`.
                (default: ``('recall', 'precision', 'ndcg')``)

        Raises:
            ValueError: If a cut-off isn't positive, or larger than the number of items, or a metric
                is unknown.
        """
        names = checked_metrics(metrics)
        k = fitting_cutoffs(len(self.item_ids)) if k is None else tuple(k)
        lists = run_lists(self, part, max(k), hits_only=METRICS.keys() >= set(names))
        return lists.evaluate(names, k)

    def top_lists(self, part: Part = 'test', k: int = 20) -> TopLists:
        """Return the best unseen items of each user with a held-out item.

        They have all metrics, also those by group and by user. The diversity of a list is that of
        the items' content, or without any that of their users in train.

        Args:
            part: ``'val'`` or ``'test'``. (default: ``'test'``)
            k: Length of the lists. (default: ``20``)

        Raises:
            ValueError: If the length isn't positive, or larger than the number of items.
        """
        return run_lists(self, part, k)

    def groups(self, by: str) -> Groups:
        """Return groups of users or items, for :meth:`TopLists.grouped
        <pyg_mmgef.ranking.TopLists.grouped>`.

        Args:
            by: ``'activity'`` of the users in train, ``'popularity'`` of the items in train, or a
                column of the item table.

        Raises:
            ValueError: If there is no such column, or it is empty.
        """
        return run_groups(self, by)

    def recommend(
        self,
        users: Any = None,
        *,
        liked: Any = None,
        k: int = 10,
        rules: Rules | None = None,
    ) -> ItemTable:
        """Recommend the items with the highest scores to users who haven't interacted with them.

        Args:
            users: The id of a user, or of several in a list, an array or a column of a data frame;
                :obj:`None` means all. (default: :obj:`None`)
            liked: For a user whom the model doesn't know, the ids of what he likes, such as a
                basket; or a list of such lists. Give it instead of :obj:`users`.
                (default: :obj:`None`)
            k: Number of items for each user. (default: ``10``)
            rules: Business rules, such as what is in stock and what comes first; scores hold its
                boosts. (default: :obj:`None`)

        Returns:
            Columns ``user``, ``rank``, ``item``, ``score``, and ``title`` where items have texts.
            With :obj:`liked` there is no ``user``, or for several lists the number of the
            ``list``. There are fewer rows where a user has almost all items, or rules leave out
            the others.

        Raises:
            ValueError: If an id is unknown, :obj:`k` isn't positive, rules ask for fields or values
                that no item has, or the model can't embed users whom it doesn't know.
        """
        if liked is None:
            rows = None if users is None else rows_of(self.user_ids, users, 'user')
            z_user, seen = self.z_user, self.all_interactions
        elif users is None:
            histories = [rows_of(self.item_ids, own, 'item') for own in as_lists(liked)]
            if not all(rows.numel() for rows in histories):
                raise ValueError(
                    f'{spelt("liked")} holds a list without items, which says nothing of a taste; '
                    'recommend what is popular'
                )
            z_user, seen, rows = self._embedded(histories), as_edges(histories), None
        else:
            raise ValueError(
                f'{spelt("users")} and {spelt("liked")} both say to whom; give one of them'
            )
        z_item = self.z_item
        if rules is None:
            scores, items = recommend(z_user, z_item, rows, k=k, exclude=seen)
        else:
            scores, items = recommend_by_rules(
                z_user, z_item, rows, rules, self.catalog, k=k, seen=seen
            )
        rows = torch.arange(len(items)) if rows is None else rows
        rank = torch.arange(1, k + 1).expand_as(items)
        is_item = items >= 0
        of_row = rows[:, None].expand_as(items)[is_item]
        who: dict[str, list[Any]] = {}
        if liked is None:
            who['user'] = self.user_ids.to_ids(of_row)
        elif len(rows) > 1:
            who['list'] = of_row.tolist()
        described = self._described(items[is_item], 'score', scores[is_item])
        return ItemTable({**who, 'rank': rank[is_item].tolist(), **described})

    @cached_property
    def fold_in(self) -> FoldIn:
        """What embeds users by the items that they like, with NumPy alone.

        Raises:
            ValueError: If the model can't embed users whom it doesn't know.
        """
        stored = None if self.folder is None else self.folder.fold_in()
        return self.model.fold_in(self.train) if stored is None else stored

    def fold_in_if_any(self) -> FoldIn | None:
        """Return :attr:`fold_in`, or :obj:`None` if the model has none."""
        with suppress(ValueError):
            return self.fold_in
        return None

    @cached_property
    def content_weights(self) -> ContentWeights | None:
        """What embeds new items by their features, with NumPy alone.

        :obj:`None` if there are no features, or a network embeds the items.
        """
        with suppress(ValueError):
            return self.model.content_weights(self.train)
        return None

    @cached_property
    def history_weights(self) -> ContentWeights | None:
        """What makes of a new item's features what it gives to the users who like it.

        :obj:`None` likewise, or if a history takes no new items.
        """
        with suppress(ValueError):
            return self.model.content_weights(self.train, history=True)
        return None

    def _embedded(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the embeddings of users with given items, in the layout of the others."""
        z_user = torch.from_numpy(self.fold_in.embed([rows.numpy() for rows in histories]))
        return z_user if self.z_user.layout == torch.strided else z_user.to_sparse_csr()

    def similar(self, item: Any, k: int = 10) -> ItemTable:
        """Return the items whose embeddings are most similar to that of an item.

        Args:
            item: The id of the item.
            k: Number of similar items. (default: ``10``)

        Returns:
            Columns ``rank``, ``item``, ``cosine``, and ``title`` where items have texts. There are
            fewer than :obj:`k` rows if fewer other items have an embedding that isn't zero.

        Raises:
            ValueError: If the item is unknown, the model learns no embeddings, that of the item is
                zero, or there are several items.
        """
        row = row_of(self.item_ids, item, 'item')
        if not self.has_embeddings:
            raise ValueError(
                f'the model {self.settings.model or self.settings.preset!r} learns no embeddings '
                'by which items could be similar; train another model'
            )
        if not self.z_item[row].any():
            raise ValueError(
                f'the model knows nothing about the item {self.item_ids[row]!r}: its '
                'embedding is zero, as it has neither interactions in train nor features that the '
                'model uses'
            )
        cosine, items = similar_items(self.z_item, torch.tensor([row]), k)
        found = items[0] >= 0
        return ItemTable(
            {
                'rank': list(range(1, int(found.sum()) + 1)),
                **self._described(items[0][found], 'cosine', cosine[0][found]),
            }
        )

    @cached_property
    def explainer(self) -> ScoreExplainer:
        """Explains scores, in rows of users and items; :meth:`explain` takes ids."""
        # An interrupted run has no metrics yet, and the embeddings of the model alone.
        latest = self._latest_users if self.metrics else {}
        return ScoreExplainer(
            self.model,
            self.train,
            self.catalog.titles,
            histories=latest,
            fold_in=self.fold_in if latest else None,
        )

    def explain(self, user: Any, item: Any) -> Explanation:
        """Explain the score of an item for a user: the parts that it is the sum of.

        Printed, it is sentences.

        Args:
            user: The id of the user.
            item: The id of the item.

        Raises:
            ValueError: If the user or the item is unknown, there are several, or the model's scores
                don't split into parts.
        """
        row = row_of(self.user_ids, user, 'user')
        return self.explainer(row, [row_of(self.item_ids, item, 'item')])[0]

    def update(
        self,
        data: Any,
        *,
        folder: str | os.PathLike[str] | None = None,
        device: str = 'auto',
        verbose: bool = False,
    ) -> 'Run':
        """Return a run that was trained further, with new users, items and interactions.

        The new run has the settings of this one. A model that is trained starts from the parameters
        that it has, with new rows for what is new. What it was trained on before stays in train, so
        nothing that it has seen is measured.

        Args:
            data: What is new, as :func:`~pyg_mmgef.fit` takes it, such as
                :class:`~pyg_mmgef.datasets.InteractionTables` of yesterday's orders; ids say who is
                who, 17 the same as ``'17'``. Of what both have, the new one counts.
            folder: Folder of the new run; :obj:`None` keeps it in memory. (default: :obj:`None`)
            device: Where to train, see :func:`~pyg_mmgef.fit`. (default: ``'auto'``)
            verbose: Whether to print what is done. (default: :obj:`False`)

        Raises:
            ValueError: If the data doesn't fit that of this run, or as :func:`~pyg_mmgef.fit`.
        """
        from pyg_mmgef.runs._train_run import train_run  # It makes runs.

        return train_run(
            extended(self.source, data, self.split[0][INTERACTS].edge_index),
            self.settings,
            None if folder is None else Path(folder).expanduser(),
            device=device,
            say=say_if(verbose),
            show_progress=verbose,
            start=self,
        )

    def add_items(
        self,
        ids: Sequence[Any],
        *,
        texts: Sequence[str | None] | None = None,
        images: Sequence[str | os.PathLike[str] | None] | None = None,
        features: Mapping[str, Tensor] | None = None,
        fields: Mapping[str, Sequence[Any]] | None = None,
    ) -> 'Run':
        """Return the run with further items, which it recommends at once by their content.

        Nothing is trained: the items have the embeddings of cold items with such content. Texts and
        pictures are encoded as those of the dataset were.

        Args:
            ids: The ids of the items.
            texts: A text of each, :obj:`None` where it has none. (default: :obj:`None`)
            images: The path of each picture, likewise. (default: :obj:`None`)
            features: Features by modality, instead of texts and pictures.
                Shape of each: ``[len(ids), channels]``. (default: :obj:`None`)
            fields: Values of the catalog's fields, such as the price. (default: ``{}``)

        Raises:
            ValueError: If an id is known already, lengths differ, the encoder isn't known, or the
                model has no embeddings of content.
        """
        new = new_items(self.source, ids, texts, images, features, fields or {})
        source = extended(self.source, new, self.split[0][INTERACTS].edge_index)
        x, has = (
            {name: part[name] for name in self.settings.modalities}
            for part in item_modalities(new.data())
        )
        run = type(self)(source, self.settings, self.metrics, history=self.history, base=self)
        run._repeated = self._repeats
        run.content_weights, run.history_weights = self.content_weights, self.history_weights
        z_item = self.model.embed_items(self.train, x, has)
        run.embeddings = self.z_user, torch.cat([self.z_item, z_item.to(self.z_item)])
        run.fold_in = self.fold_in
        if self.history_weights is not None:
            run.fold_in = self.fold_in.with_items(self.history_weights.embed(x, has))
        return run

    def refit(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        device: str = 'auto',
        verbose: bool = False,
    ) -> 'Run':
        """Train on all interactions, those held out included; see :func:`pyg_mmgef.runs.refit`."""
        from pyg_mmgef.runs.refit import refit  # It takes runs.

        return refit(self, folder, device=device, verbose=verbose)

    def report(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write an HTML page to share, see :func:`pyg_mmgef.report.write_report`."""
        from pyg_mmgef.report import write_report  # It takes runs.

        write_report(self, Path(path).expanduser(), **options)

    def export(self, folder: str | os.PathLike[str], **options: Any) -> Path:
        """Write what a server needs, see :func:`pyg_mmgef.runs.export`."""
        from pyg_mmgef.runs.export import export  # It takes runs.

        return export(self, folder, **options)

    @property
    def has_embeddings(self) -> bool:
        """Whether items have dense embeddings with several channels."""
        return self.z_item.layout == torch.strided and self.z_item.size(1) > 1

    def _scale_cold_items(self) -> None:
        """Scale the embeddings of cold items so that warm items lose at most 3 % of their recall.

        The recall is that on validation, of the users in its sample if there is one, see
        :func:`~pyg_mmgef.ranking.choose_cold_scale`.
        """
        self.model.cold_scale = choose_cold_scale(
            *self.embeddings,
            supervision_edges(sampled_users(self.val, self.settings.val_users, self.settings.seed)),
            self.model.is_warm(self.train),
            exclude=self.seen(),
            k=fitting_cutoffs(self.model.num_items)[-1],
        )
        del self.embeddings
        self.__dict__.pop('explainer', None)

    def _embed_new_users(self) -> None:
        """Embed the users without train interactions by what was held out of theirs.

        After a split by time these are the latest users. The metrics leave them out, so that
        nothing that is held out enters there.
        """
        if self._latest_users:
            rows = torch.tensor(list(self._latest_users))
            embedded = self._embedded(list(self._latest_users.values()))
            z_user = self.z_user.index_put((rows,), embedded.to(self.z_user))
            self.embeddings = z_user, self.z_item

    @property
    def _repeats(self) -> Settings | None:
        """The settings that repeat the run, :obj:`None` if they are its own."""
        return self._repeated if self.folder is None else self.folder.repeated

    @cached_property
    def _latest_users(self) -> dict[int, Tensor]:
        """The items of the users without train interactions by row, if they can be folded in."""
        if self.z_user.layout != torch.strided or self.fold_in_if_any() is None:
            return {}
        user, item = self.all_interactions
        is_new = ~torch.isin(user, self.split[0][INTERACTS].edge_index[0])
        order = user[is_new].argsort(stable=True)
        rows, count = user[is_new][order].unique_consecutive(return_counts=True)
        histories = item[is_new][order].split(count.tolist())
        return dict(zip(rows.tolist(), histories, strict=True))

    def _described(self, items: Tensor, name: str, values: Tensor) -> dict[str, list[Any]]:
        columns = {'item': self.item_ids.to_ids(items), name: values.tolist()}
        if any(title is not None for title in self.titles):
            columns['title'] = [self.titles[row] for row in items.tolist()]
        return columns

    def __repr__(self) -> str:
        name = self.settings.preset or self.settings.model
        sizes = f'num_users={len(self.user_ids)}, num_items={len(self.item_ids)}'
        return f'{self.__class__.__name__}({name!r}, {sizes})'


def _with_new_items(run: Run, train: HeteroData) -> tuple[HeteroData, Recommender]:
    """Return a train graph with further items, and the model of a run that has room for them.

    The embeddings of the others stay as they are: nothing is solved again, and in item graphs the
    new items have no neighbours.
    """
    for relation in item_relations(run.train):
        for name, value in run.train[ITEM, relation, ITEM].items():
            train[ITEM, relation, ITEM][name] = value
    model = run.model.grow(*num_users_items(train))
    for part, old in zip(model.modules(), run.model.modules(), strict=True):
        if isinstance(part, IALS) and isinstance(old, IALS):
            part.keep_solution(old, train)
    return train, model
