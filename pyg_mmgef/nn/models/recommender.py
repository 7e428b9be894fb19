import copy
import inspect
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar, final

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData
from torch_geometric.utils import coalesce

from pyg_mmgef._describe import arguments_of, describe
from pyg_mmgef.catalog.content_weights import ContentWeights
from pyg_mmgef.catalog.fold_in import FoldIn, LeastSquaresFoldIn, LinearFoldIn
from pyg_mmgef.nn.parts._fold_in import as_array, history_inputs, map_to_users
from pyg_mmgef.nn.parts._id_rows import distinct, restore, select
from pyg_mmgef.nn.parts.content_features import Content, ContentFeatures
from pyg_mmgef.nn.parts.content_map import ContentMap
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.modality_features import feature_channels
from pyg_mmgef.nn.parts.sampled_batch import check_batch
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.schema import (
    INTERACTS,
    ITEM,
    USER,
    interaction_edges,
    interactions,
    is_sampled,
    item_graph,
    item_store,
    num_users_items,
)
from pyg_mmgef.validate import check_positive

__all__ = ['Recommender']

Model = TypeVar('Model', bound='Recommender')
OF_MODALITY = 'similar_<modality>'
TINY = 1e-9


class Recommender(Module, ABC):
    r"""Base class of all models. A model maps a graph to embeddings of its users and items.

    The score of an item for a user is :math:`\mathbf{z}_u^{\top} \mathbf{z}_i`, so evaluation,
    recommendation and export need nothing else.

    A model is its constructor, :meth:`reset_parameters` and :meth:`embed`. The constructor takes
    all but the sizes by name, and keeps each argument as the attribute of that name. Where the
    paper adds terms to the loss, it implements :meth:`extra_loss`; where it changes from epoch to
    epoch, :meth:`start_epoch` and :attr:`changes_with_epoch`. All else is here, once: repeated ids,
    which items are warm, what becomes of a cold one, and how a loss is put together.

    **Cold items** have no train interactions. In evaluation mode, where items have features
    ``data['item'].x_<modality>``, a cold item's embedding is what :attr:`content_map` makes of its
    features: the embedding that warm items with such content have in this model. It is multiplied
    by :attr:`cold_scale`. Without any features it is zero. :meth:`embed_items` does the same for
    items that aren't in the data. An item that has few interactions may keep some of it, see
    :attr:`content_count`. Training is as the model's paper has it.

    **Sampled batches.** Where :attr:`takes_batches`, a step may read a sampled subgraph in place of
    the whole data: what PyG's :class:`~torch_geometric.loader.LinkNeighborLoader` yields for data
    that went through :class:`~pyg_mmgef.transforms.AddReverseInteractions`. Then all ids are local
    to the batch, and what a node receives from its sampled neighbours is scaled up to all of them.
    Only :meth:`forward`, :meth:`loss` and :meth:`triplets` take a batch; its cold items have what
    :meth:`embed` gives them, in evaluation too.

    Args:
        num_users: Number of users.
        num_items: Number of items.

    Raises:
        ValueError: If a number isn't positive.
    """

    paper: ClassVar[str] = ''
    """Where the model is from, a link."""
    year: ClassVar[int | None] = None
    """The year in which the paper appeared."""

    content_map: ContentMap | None
    """Gives cold items their embeddings; :obj:`None` leaves that to the model itself."""
    cold_scale: float
    """The factor of a cold item's embedding. The order among cold items stays; above 1, more of
    them rank above warm items, see :func:`pyg_mmgef.ranking.choose_cold_scale`."""
    content_count: float
    r"""How many interactions the content of an item counts as; 0 leaves warm items alone.

    In evaluation mode, an item :math:`i` with :math:`d_i > 0` interactions has

    .. math::
        \frac{c \, f(\mathbf{x}_i) + d_i \, \mathbf{z}_i}{c + d_i}, \qquad
        c = \kappa \, \frac{R^2}{1 - R^2}

    with :math:`\kappa` this number, the model's own :math:`\mathbf{z}_i`, and the share
    :math:`R^2` of the embeddings' variance that content tells of an item left out
    (:attr:`ContentMap.explained <pyg_mmgef.nn.parts.ContentMap.explained>`). So the first
    interactions of an item change its embedding little where content says much."""
    is_trained: ClassVar[bool] = True
    """Whether there is a loss to minimise; other models are computed when they are first asked."""
    takes_batches: ClassVar[bool] = False
    """Whether a step may read a sampled batch in place of the whole data."""
    needs_negatives: ClassVar[bool] = False
    """Whether the model itself compares positives with negatives, whatever the loss function."""
    reads_graphs: ClassVar[tuple[str, ...]] = ()
    """The item graphs that ``from_data`` looks for: ``'similar'``, of fused features;
    ``'similar_<modality>'``, one of each modality; ``'co_interacts'``."""
    _empty: Tensor

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__()
        check_positive('num_users', num_users)
        check_positive('num_items', num_items)
        self.num_users = num_users
        self.num_items = num_items
        self.register_buffer('_empty', torch.empty(0), persistent=False)
        self.content_map = ContentMap()
        self.cold_scale = 1.0
        self.content_count = 0.0
        self._content_of = ContentFeatures()
        self._warm_cache = TensorCache()
        self._count_cache = TensorCache()
        self._positives_since_start = 0

    @classmethod
    def from_data(cls: type[Model], data: HeteroData, **kwargs: Any) -> Model:
        """Build the model for :obj:`data`.

        A model whose constructor requires ``in_channels`` gets those of all modalities.

        Args:
            data: A graph in the schema of this package.
            **kwargs: Arguments of the constructor.

        Raises:
            ValueError: If the types of the data have other names than in the schema, or it lacks
                features or item graphs that the model can't do without.
        """
        features = inspect.signature(cls).parameters.get('in_channels')
        if features is not None and features.default is features.empty:
            if 'in_channels' not in kwargs:
                kwargs['in_channels'] = feature_channels(data, cls.__name__)
            for name in kwargs['in_channels'] if OF_MODALITY in cls.reads_graphs else ():
                item_graph(data, OF_MODALITY.replace('<modality>', name))
        return cls(*num_users_items(data), **kwargs)

    @classmethod
    def from_pretrained(
        cls: type[Model],
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | None = None,
    ) -> Model:
        """Load a model that :meth:`save_pretrained` or :meth:`push_to_hub` has saved.

        Called on :class:`Recommender`, it returns any model of this package, by the name of its
        class in ``config.json``; called on a class, also one of your own, only that. Nothing in the
        files is executed. The model is in evaluation mode, on the CPU. With the data that it was
        saved with, its embeddings are the same bit for bit.

        Args:
            name: A folder, or a repository of the Hugging Face Hub such as ``'owner/name'``.
            revision: A branch, a tag or a commit of the repository. (default: :obj:`None`)
            token: The token of the Hub; :obj:`None` is the one of the login.
                (default: :obj:`None`)

        Raises:
            FileNotFoundError: If there is no model in the folder.
            ImportError: If a repository is asked for and ``huggingface_hub`` isn't installed.
            ValueError: If the files are damaged, or of another class.
        """
        from pyg_mmgef.nn.pretrained import load_pretrained

        return load_pretrained(cls, name, revision, token)

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Save the model in the form of the Hugging Face Hub.

        The files are ``config.json`` with the arguments of the constructor, ``model.safetensors``
        with the parameters, learned graphs and solutions, and a model card ``README.md``, which is
        kept if there is one. Data isn't saved; embeddings of the users are.

        Args:
            folder: The folder, which is made if it doesn't exist.
            metrics: Metrics by name, for the card. (default: :obj:`None`)

        Raises:
            OSError: If the folder can't be written.
            ValueError: If an argument of the constructor, or the state, can't be saved.
        """
        from pyg_mmgef.nn.pretrained import save_pretrained

        save_pretrained(self, folder, metrics)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        metrics: Mapping[str, float] | None = None,
        message: str = 'Save the model',
        token: str | None = None,
    ) -> str:
        """Save the model in a repository of the Hugging Face Hub, as :meth:`save_pretrained` does.

        Args:
            repo_id: The repository, such as ``'owner/name'``; it is created if it doesn't exist.
            private: Whether a new repository is private. The model holds an embedding of each user.
                (default: :obj:`True`)
            metrics: Metrics by name, for the card. (default: :obj:`None`)
            message: The message of the commit. (default: ``'Save the model'``)
            token: The token of the Hub; :obj:`None` is the one of the login.
                (default: :obj:`None`)

        Returns:
            The address of the repository.

        Raises:
            ImportError: If ``huggingface_hub`` isn't installed.
            OSError: If the Hub can't be reached, or refuses.
            ValueError: If it is no name of a repository, or the model can't be saved.
        """
        from pyg_mmgef.nn.pretrained import push_to_hub

        return push_to_hub(self, repo_id, private, metrics, message, token)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor by name."""
        return arguments_of(self)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the embeddings; it follows ``model.double()`` and the like."""
        return self._empty.dtype

    @property
    def has_parameters(self) -> bool:
        """Whether there is something to train; a model without parameters only counts."""
        return next(self.parameters(), None) is not None

    @abstractmethod
    def reset_parameters(self) -> None:
        """Initialise the parameters anew, and clear what was built from data."""

    @abstractmethod
    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Return the embeddings of some users and items, a row for each.

        Args:
            data: The train graph.
            users: Distinct user ids in increasing order; :obj:`None` means all. Shape: ``[U]``.
            items: Distinct item ids in increasing order; :obj:`None` means all. Shape: ``[I]``.

        Returns:
            ``z_user`` of shape ``[U, channels]`` and ``z_item`` of shape ``[I, channels]``. What a
            model returns beyond these is passed on to :meth:`extra_loss`.
        """

    @final  # type: ignore[misc] # torch declares it as an attribute.
    def forward(
        self, data: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and items, or of those asked for.

        ``model(data, users, items)`` is ``z_user[users], z_item[items]`` without computing the
        other rows.

        Args:
            data: The train graph, with what the model was built for: item features, item graphs;
                or a sampled batch. All interactions count the same, so they must not have an
                ``edge_weight``.
            users: User ids, repeated or not; :obj:`None` means all, in order. Shape: ``[*]``.
                (default: :obj:`None`)
            items: Item ids, repeated or not; :obj:`None` means all, in order. Shape: ``[*]``.
                (default: :obj:`None`)

        Returns:
            ``z_user`` of shape ``[num_users, channels]`` or ``[*users.shape, channels]``, and
            ``z_item`` likewise.

        Raises:
            ValueError: If the data doesn't fit the model, or ids are out of range.
        """
        num_users, num_items = self._checked_sizes(data)
        users, user_position = distinct('users', users, num_users, USER)
        items, item_position = distinct('items', items, num_items, ITEM)
        if self._reads_content(data, items):
            z_user, z_item, *_ = self.embed(data, users, None)
            z_item = select(self._with_content(data, z_item), items)
        else:
            z_user, z_item, *_ = self.embed(data, users, items)
        return restore(z_user, user_position), restore(z_item, item_position)

    @torch.no_grad()
    def grow(self: Model, num_users: int, num_items: int, data: HeteroData | None = None) -> Model:
        """Return a copy with room for new users and items, behind those that it has.

        What was learned stays: the parameters, the rows of the users and items that the model has,
        learned item graphs. The rows of new ones start as :meth:`reset_parameters` starts them.
        With :obj:`data`, new users who have items start where known users of such a history are,
        by a map that is learned as that of :meth:`fold_in`. Train the copy on the grown graph; it
        starts from what the model knows, so it takes fewer epochs than a new model. Options stay as
        they are, and caches are empty.

        Args:
            num_users: Number of users, at least as many as now.
            num_items: Number of items, at least as many as now.
            data: The grown train graph, to start new users by their items; :obj:`None` starts them
                at random. (default: :obj:`None`)

        Raises:
            ValueError: If a number is smaller than now, or the data has other numbers.

        Example:
            >>> from pyg_mmgef.nn import LightGCN
            >>> model = LightGCN(num_users=2, num_items=3, embedding_dim=8)
            >>> grown = model.grow(num_users=4, num_items=5)
            >>> grown.item_embedding.weight.shape
            torch.Size([5, 8])
            >>> torch.equal(grown.item_embedding.weight[:3], model.item_embedding.weight)
            True
        """
        sizes = {'num_users': num_users, 'num_items': num_items}
        for name, size in sizes.items():
            check_positive(name, size)
            if size < getattr(self, name):
                raise ValueError(
                    f"'{name}' must be at least {getattr(self, name)}, as many as the model has "
                    f'(got {size})'
                )
        grown = type(self)(**{**self.arguments, **sizes}).to(self._empty)
        state = grown.state_dict()
        for name, value in self.state_dict().items():
            if isinstance(value, Tensor) and value.shape != state[name].shape:
                state[name][tuple(map(slice, value.shape))] = value
            else:
                state[name] = value
        grown.load_state_dict(state)
        grown.cold_scale, grown.content_count = self.cold_scale, self.content_count
        if self.content_map is None:
            grown.content_map = None
        elif grown.content_map is None or grown.content_map.strengths != self.content_map.strengths:
            grown.content_map = ContentMap(self.content_map.strengths)
        grown.train(self.training)
        if data is not None and num_users > self.num_users:
            grown._start_new_users(data, self.num_users, self._user_dims(num_users))
        return grown

    def _user_dims(self, num_users: int) -> dict[str, int]:
        """Return the parameters that have a row for each user, and its dimension."""
        with torch.device('meta'):
            other = type(self)(**{**self.arguments, 'num_users': num_users})
        return {
            name: next(dim for dim, size in enumerate(parameter.shape) if size != own.size(dim))
            for (name, parameter), own in zip(
                other.named_parameters(), self.parameters(), strict=True
            )
            if parameter.shape != own.shape
        }

    def _start_new_users(self, data: HeteroData, num_known: int, dims: Mapping[str, int]) -> None:
        """Set the rows of users behind the known ones to what these teach, by their histories."""
        if not dims:
            return
        x, has_items = history_inputs(data, self._embedded(data)[1])
        is_known = torch.arange(self.num_users, device=x.device) < num_known
        known, new = has_items & is_known, has_items & ~is_known
        if not bool(known.any()):
            return
        for name, dim in dims.items():
            rows = self.get_parameter(name).movedim(dim, 0)
            fitted = ContentMap().fit(x[known], rows[known].flatten(1))
            rows[new] = fitted(x[new]).to(rows.dtype).view(-1, *rows.shape[1:])

    @torch.no_grad()
    def embed_items(
        self,
        data: HeteroData,
        x: Mapping[str, Tensor],
        has: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the embeddings of items that aren't in the data, from their features alone.

        They are those that the same items would have as cold items of the data, where they don't
        change anything for the others.

        Args:
            data: The train graph, with features of the same modalities.
            x: The features of the new items by modality. Shape of each: ``[N, channels]``.
            has: Which of them have a modality; all by default, but for rows of zeros.
                Shape of each: ``[N]``, bool. (default: :obj:`None`)

        Returns:
            Shape: ``[N, channels]``.

        Raises:
            ValueError: If the data has no features or no warm items, the modalities or their
                channels are others, there is no :attr:`content_map`, or embeddings are sparse.
        """
        _, z_item = self._embedded(data)
        content, fitted = self._fitted(data, z_item, self.content_map)
        return self._predicted(data, fitted, content.of(x, has)).to(z_item.dtype)

    @torch.no_grad()
    def content_weights(self, data: HeteroData, *, history: bool = False) -> ContentWeights:
        """Return the map behind :meth:`embed_items`, fitted once, for NumPy alone.

        Its embeddings are those of :meth:`embed_items`. That method computes all embeddings at
        each call; for items that come one by one, keep this map.

        Args:
            data: The train graph, with features.
            history: Return the map to what a new item gives to the users who like it, for
                :meth:`FoldIn.with_items <pyg_mmgef.catalog.FoldIn.with_items>`, in place of the
                item's embedding. (default: :obj:`False`)

        Raises:
            ValueError: As :meth:`embed_items`; and if the model embeds items by a network, which
                isn't affine.
        """
        if history:
            content, fitted = self._fitted(data, self._history_vectors(data), ContentMap())
            weight, bias = fitted.weight, fitted.bias
        else:
            _, z_item = self._embedded(data)
            content, fitted = self._fitted(data, z_item, self.content_map)
            bias = self.cold_scale * self.adapt_cold(data, fitted.bias[None])[0]
            weight = self.cold_scale * self.adapt_cold(data, fitted.weight + fitted.bias) - bias
        mean = {name: as_array(row, torch.double) for name, row in content.mean.items()}
        return ContentWeights(mean, as_array(weight), as_array(bias))

    @torch.no_grad()
    def fold_in(self, data: HeteroData) -> FoldIn:
        r"""Return what embeds users that the model was not trained on, by the items they like.

        Models whose users' embeddings follow from their items have it in closed form: see
        :meth:`IALS.fold_in`, and those of :class:`ContentCentroid`, :class:`EASE` and
        :class:`ItemKNN`. Where users have parameters of their own, the users of the data teach a
        linear map from what they like,

        .. math::
            \mathbf{z}_u = \bar{\mathbf{z}} + \mathbf{W}^{\top} (\mathbf{m}_u - \bar{\mathbf{m}}),
            \qquad \mathbf{m}_u = \frac{1}{\sqrt{n_u}} \sum_{j \in \mathcal{N}(u)} \mathbf{z}_j

        by ridge regression (:class:`~pyg_mmgef.nn.parts.ContentMap`), whose strength is chosen by
        leaving out one user at a time; ``fold_in.explained`` is the share of the variance of their
        embeddings that it tells of a user left out. So a new user has the embedding that users of
        such a history have. A cold item counts with what its features say.

        Args:
            data: The train graph.

        Raises:
            ValueError: If the data doesn't fit the model, or has no interactions to learn from.
        """
        z_user, z_item = self._embedded(data)
        fitted = map_to_users(data, z_user, z_item)
        vectors = self._with_cold_rows(data, z_item.double() @ fitted.weight)
        bias, explained = as_array(fitted.bias), fitted.explained
        return LinearFoldIn(as_array(vectors), bias, explained=explained)

    def embed_users(self, data: HeteroData, histories: Sequence[ArrayLike]) -> Tensor:
        """Return the embeddings of users that the model was not trained on.

        They are those of :meth:`fold_in`, which is worth keeping where users come one by one.

        Args:
            data: The train graph.
            histories: The items that each user likes, vectors of integers.

        Returns:
            Shape: ``[len(histories), channels]``, sparse CSR where the model's are.

        Raises:
            ValueError: As :meth:`fold_in`, or if an item is out of range.
        """
        fold_in = self.fold_in(data)
        z_user = torch.from_numpy(fold_in.embed(histories)).to(self._empty)
        return z_user.to_sparse_csr() if fold_in.kind == 'history' else z_user

    def _history_vectors(self, data: HeteroData) -> Tensor:
        """Return what each item gives to the users who like it."""
        fold_in = self.fold_in(data)
        if isinstance(fold_in, LinearFoldIn | LeastSquaresFoldIn):
            return torch.from_numpy(fold_in.vectors).to(self._empty.device)
        raise ValueError(
            f'a user of {self.__class__.__name__} is a history of items that the model knows, so '
            'it takes no new ones; build the model anew with them'
        )

    @torch.no_grad()
    def _embedded(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings in evaluation, cold items as the model itself has them."""
        self.check_sizes(data)
        with self._evaluating():
            z_user, z_item, *_ = self.embed(data, None, None)
        return z_user, z_item

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Be in evaluation mode within the block."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)

    def _fitted(
        self, data: HeteroData, rows: Tensor, content_map: ContentMap | None
    ) -> tuple[Content, ContentMap]:
        """Return the features of the items, and the map from them to rows of warm items."""
        is_warm = self.is_warm(data)
        if content_map is None:
            raise ValueError("'content_map' is None, so features have no embedding; set one")
        if not bool(is_warm.any()):
            raise ValueError("'data' has no interactions, so there is no item to learn from")
        content = self._content_of(data, is_warm)
        if content is None:
            raise ValueError("'data' has no item features to learn from")
        if rows.layout != torch.strided:
            raise ValueError(
                f'{self.__class__.__name__} has sparse embeddings, which features do not give'
            )
        return content, content_map.fit(content.warm, rows[is_warm[:, 0]])

    def _with_cold_rows(self, data: HeteroData, rows: Tensor) -> Tensor:
        """Return rows of the items, where cold items have what their features say, if possible."""
        is_warm = self.is_warm(data)
        if self.content_map is None or self._content_of(data, is_warm) is None:
            return rows
        if not bool(is_warm.any()) or bool(is_warm.all()):
            return rows
        content, fitted = self._fitted(data, rows, self.content_map)
        cold = torch.where(_has_content(content.cold), fitted(content.cold), 0.0)
        return rows.index_put((~is_warm[:, 0],), cold.to(rows.dtype))

    def adapt_cold(self, data: HeteroData, z_item: Tensor) -> Tensor:
        """Return the embeddings of cold items, given those that :attr:`content_map` predicts.

        They are the same, unless a model changes them.

        Args:
            data: The train graph.
            z_item: The predicted embeddings. Shape: ``[N, channels]``.
        """
        return z_item

    def _reads_content(self, data: HeteroData, items: Tensor | None) -> bool:
        """Return whether some of the items don't have the embedding that :meth:`embed` gives."""
        if self.training or is_sampled(data):
            return False
        if self.content_map is None and self.cold_scale == 1:
            return False
        is_warm = self.is_warm(data)
        if self.content_map is not None and self.content_count > 0:
            return bool(is_warm.any())
        return bool((~select(is_warm, items)).any() and is_warm.any())

    @torch.no_grad()
    def _with_content(self, data: HeteroData, z_item: Tensor) -> Tensor:
        """Return the embeddings of all items as evaluation has them, see the class."""
        if z_item.layout != torch.strided:  # A channel for each item; those of cold ones are empty.
            return z_item
        is_warm = self.is_warm(data)
        content = None if self.content_map is None else self._content_of(data, is_warm)
        is_warm = is_warm[:, 0]
        if content is None or self.content_map is None:
            cold = self.cold_scale * z_item[~is_warm]
            return z_item.index_put((~is_warm,), cold)
        own = z_item[is_warm]
        fitted = self.content_map.fit(content.warm, own)
        cold = self._predicted(data, fitted, content.cold)
        z_item = z_item.index_put((~is_warm,), cold.to(z_item.dtype))
        if self.content_count > 0:
            count = self._num_interactions(data)[is_warm, None]
            share = self._share_of_content(fitted, content.warm, count).to(own.dtype)
            mixed = own.lerp(fitted(content.warm).to(own.dtype), share)
            z_item = z_item.index_put((is_warm,), mixed)
        return z_item

    def _share_of_content(self, content_map: ContentMap, x: Tensor, count: Tensor) -> Tensor:
        """Return how much of a warm item's embedding is what its content says."""
        explained = content_map.explained
        content_count = self.content_count * explained / max(1 - explained, TINY)
        return torch.where(_has_content(x), content_count / (content_count + count), 0.0)

    def _num_interactions(self, data: HeteroData) -> Tensor:
        """Return the interactions of each item, a repeated one once. Shape: ``[num_items]``."""

        def build() -> Tensor:
            return coalesce(interactions(data))[1].bincount(minlength=self.num_items)

        return self._count_cache.get([interaction_edges(data)], build)

    def _predicted(self, data: HeteroData, content_map: ContentMap, x: Tensor) -> Tensor:
        """Return the embeddings of cold items; of those without content nothing is known."""
        z_item = torch.where(_has_content(x), self.adapt_cold(data, content_map(x)), 0.0)
        return self.cold_scale * z_item

    def split_user(self, data: HeteroData, user: int) -> UserParts | None:
        """Return the terms that a user's embedding is the sum of.

        :class:`~pyg_mmgef.explain.ScoreExplainer` explains scores by them.

        Args:
            data: The train graph.
            user: The user.

        Returns:
            The terms, or :obj:`None` where the model is no such sum.
        """
        return None

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart] | None:
        """Return the terms that the embeddings of some items, as of :meth:`embed`, are the sum of.

        Args:
            data: The train graph.
            items: Distinct item ids in increasing order. Shape: ``[I]``.

        Returns:
            The terms, or :obj:`None` where the model is no such sum.
        """
        return None

    @property
    def changes_with_epoch(self) -> bool:
        """Whether :meth:`start_epoch` must be called before every training epoch."""
        return False

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Prepare a training epoch; call it before each.

        Args:
            data: The train graph.
            epoch: The epoch that starts, counted from 0.

        Raises:
            ValueError: If the data doesn't fit the model, or is a sampled batch.
        """
        self.check_sizes(data)
        self._positives_since_start = 0

    def epoch_data(self, data: HeteroData) -> HeteroData:
        """Return what propagates in this epoch, as data to sample batches from.

        Where the model leaves out interactions or learns item graphs, a batch can't say what the
        epoch is like for the rest of the data. So call it after :meth:`start_epoch`, before every
        epoch, and let a loader sample from its result, where the model :attr:`changes_with_epoch`.
        Other models propagate over the data as it is. In evaluation no interactions are left out.

        Args:
            data: The train graph, after :class:`~pyg_mmgef.transforms.AddReverseInteractions`.

        Returns:
            A copy that shares all that doesn't change. All interactions stay its supervision edges.

        Raises:
            ValueError: If the data doesn't fit the model.
        """
        self.check_sizes(data)
        data = copy.copy(data)
        data.of_epoch = True
        return data

    def loss(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor, loss_fn: Module
    ) -> Tensor:
        """Return the loss of a batch of triplets, the model's own terms included.

        Args:
            data: The train graph, or a sampled batch.
            users: User ids. Shape: ``[B]``.
            items: Positives, items that they interacted with. Shape: ``[B]``.
            negatives: Items that they did not interact with. Shape: ``[B]``, ``[B, N]``, or,
                shared by all users, ``[1, N]``.
            loss_fn: Called with the embeddings of users, positives and negatives, such as
                :class:`~pyg_mmgef.nn.BPRLoss`.

        Returns:
            A scalar.

        Raises:
            ValueError: If the data doesn't fit the model, ids are out of range, or the model has no
                parameters.
        """
        batch = self._start_step(data, users, items, negatives)
        z_user, z_item, *rest = self.embed(data, batch.user_rows, batch.item_rows)
        loss: Tensor = loss_fn(*self.ranked(*batch.triplets(z_user, z_item)))
        extra = self.extra_loss(data, batch, z_user, z_item, *rest)
        return loss if extra is None else loss + extra

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the terms that the model adds to the loss, or :obj:`None` for none.

        Args:
            data: The train graph.
            batch: The batch of triplets.
            *embedded: What :meth:`embed` returned for the distinct users and items of the batch.
        """
        return None

    def ranked(
        self, user: Tensor, positive: Tensor, negative: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the loss function ranks by: the embeddings, unless a model changes them.

        Args:
            user: Shape: ``[B, channels]``.
            positive: Shape: ``[B, channels]``.
            negative: Shape: ``[B, channels]``, ``[B, N, channels]`` or ``[1, N, channels]``.
        """
        return user, positive, negative

    def triplets(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of a batch, as a loss function takes them.

        The arguments are those of :meth:`loss`; the embeddings have a further dimension. For
        training, prefer :meth:`loss`: it also adds the model's own terms.
        """
        batch = TripletBatch(users, items, negatives, *self._checked_sizes(data))
        z_user, z_item, *_ = self.embed(data, batch.user_rows, batch.item_rows)
        return self.ranked(*batch.triplets(z_user, z_item))

    def is_warm(self, data: HeteroData) -> Tensor:
        """Return which items have train interactions. Shape: ``[num_items, 1]``, bool.

        Those of a sampled batch have them in the whole data.
        """
        store = item_store(data)
        if is_sampled(data):
            is_warm: Tensor = store.is_warm if 'is_warm' in store else store.degree > 0
            return is_warm[:, None]

        def build() -> Tensor:
            return interactions(data)[1].bincount(minlength=self.num_items)[:, None] > 0

        return self._warm_cache.get([interaction_edges(data)], build)

    def zero_cold(self, data: HeteroData, x: Tensor, items: Tensor | None = None) -> Tensor:
        """Return the rows of items, zero for cold items.

        Parameters of a cold item, one without train interactions, were never trained on a positive.
        With zeros in their place, nothing random reaches its score or its neighbours.

        Args:
            data: The train graph.
            x: Rows of the items. Shape: ``[I, channels]``.
            items: The items; :obj:`None` means all. Shape: ``[I]``. (default: :obj:`None`)
        """
        return torch.where(select(self.is_warm(data), items), x, 0.0)

    def check_sizes(self, data: HeteroData) -> None:
        """Raise a :class:`ValueError` unless the data has the users and items of the model.

        Its interactions must not have an ``edge_weight``, which no model reads.
        """
        size = num_users_items(data)
        _check_unweighted(data)
        if is_sampled(data):
            raise ValueError(
                "'data' is a sampled batch, which only a step reads (the model itself, 'loss' and "
                "'triplets'); pass the whole data"
            )
        if size != (self.num_users, self.num_items):
            raise ValueError(
                f"'data' has {size[0]} users and {size[1]} items, but the model was built for "
                f'{self.num_users} and {self.num_items}'
            )

    def _checked_sizes(self, data: HeteroData) -> tuple[int, int]:
        """Check the data, or a sampled batch, and return how many users and items it has."""
        if not is_sampled(data):
            self.check_sizes(data)
            return self.num_users, self.num_items
        name = self.__class__.__name__
        if not self.takes_batches:
            raise ValueError(
                f'{name} reads more of the data in a step than a sampled batch holds; train it on '
                'the whole data'
            )
        check_batch(data, self.num_users, self.num_items)
        _check_unweighted(data)
        if self.changes_with_epoch and 'of_epoch' not in data:
            raise ValueError(
                f'{name} leaves out interactions or learns an item graph, which a batch of the '
                "data itself doesn't have; sample it from 'model.epoch_data(data)'"
            )
        return num_users_items(data)

    def __repr__(self) -> str:
        return describe(self, **self.arguments)

    def _start_step(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor
    ) -> TripletBatch:
        """Check what every loss checks, and return the batch."""
        if not self.has_parameters:
            raise ValueError(
                f'{self.__class__.__name__} has no parameters, so there is nothing to train; '
                'evaluate it as it is'
            )
        batch = TripletBatch(users, items, negatives, *self._checked_sizes(data))
        if self.training and self.changes_with_epoch and not is_sampled(data):
            self._warn_without_start_epoch(data, items.numel())
        return batch

    def _warn_without_start_epoch(self, data: HeteroData, num_positives: int) -> None:
        """Warn once where more than two epochs of positives have gone by since an epoch began."""
        per_epoch = interaction_edges(data).size(1)
        if 'edge_label_index' in data[INTERACTS]:
            per_epoch = max(per_epoch, data[INTERACTS].edge_label_index.size(1))
        limit = 2 * max(per_epoch, num_positives)
        before, self._positives_since_start = (
            self._positives_since_start,
            self._positives_since_start + num_positives,
        )
        if before <= limit < self._positives_since_start:
            warnings.warn(
                f'{self.__class__.__name__} has been trained on more than two epochs of '
                "interactions since 'start_epoch' was last called; call "
                "'model.start_epoch(data, epoch)' before every epoch, or its graphs stay as they "
                'are',
                stacklevel=4,
            )


def _check_unweighted(data: HeteroData) -> None:
    if INTERACTS in data.edge_types and 'edge_weight' in data[INTERACTS]:
        raise ValueError(
            "'data' has weights of the interactions, but to the models all interactions count the "
            f'same; delete data{[*INTERACTS]}.edge_weight, or build a model of BipartiteLGConv, '
            'which takes weights'
        )


def _has_content(x: Tensor) -> Tensor:
    """Return which rows aren't all zero, as they are where every modality is missing."""
    return x.ne(0).any(dim=1, keepdim=True)
