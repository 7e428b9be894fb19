"""What the sections of a report are made of: the lists of the model and of the best-sellers."""

from functools import cached_property

import torch
from torch import Tensor
from torch_geometric.utils import coalesce

from pyg_mmgef.nn import Popularity
from pyg_mmgef.ranking import PairedTest, TopLists, paired_t_test
from pyg_mmgef.report._cards import Cards, category_of
from pyg_mmgef.runs._run_lists import check_has_held_out, item_vectors
from pyg_mmgef.runs.baselines import baseline_embeddings
from pyg_mmgef.runs.run import Run, fitting_cutoffs
from pyg_mmgef.schema import INTERACTS, interactions, supervision_edges

__all__ = ['Evidence']

MOST_USERS = 10_000
"""Of more people with held-out choices, as many are sampled."""
MEASURED = ('recall', 'ndcg', 'hit_ratio', 'coverage', 'personalization')


class Evidence:
    """The recommendations of a run and of the best-sellers, for the people of the test part.

    Args:
        run: The run.
        category: The field with the categories of products; :obj:`None` looks for one.
            (default: :obj:`None`)
        verb: What people do with products, in the past. (default: ``'chose'``)

    Raises:
        ValueError: If there is no such field, or the run was trained on all interactions.
    """

    def __init__(self, run: Run, category: str | None = None, verb: str = 'chose') -> None:
        check_has_held_out(run)
        self.run, self.verb = run, verb
        self.seed = run.settings.seed
        self.category = category_of(run.catalog, category)
        self.cards = Cards(run.catalog, self.category)
        self.num_items, self.num_users = len(run.item_ids), len(run.user_ids)
        self.k = fitting_cutoffs(self.num_items)[-1]
        train = coalesce(interactions(run.train))
        self.popularity: Tensor = train[1].bincount(minlength=self.num_items)
        """Number of people in train who have each product. Shape: ``[num_items]``."""
        target = supervision_edges(run.test)
        users = target[0].unique()
        self.num_tested = users.numel()
        """Number of people with held-out choices."""
        if self.num_tested > MOST_USERS:
            users = users[self.sample(self.num_tested, MOST_USERS)]
            target = target[:, torch.isin(target[0], users)]
        self.lists = self._ranked(target, (run.z_user, run.z_item))
        self.best_sellers = self._ranked(target, baseline_embeddings(Popularity, run.train))

    def sample(self, of: int, size: int) -> Tensor:
        """Return some of the first numbers, at random and in random order; equal for one seed."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(of, generator=generator)[:size]

    def _ranked(self, target: Tensor, embeddings: tuple[Tensor, Tensor]) -> TopLists:
        return TopLists.rank(
            *embeddings,
            target,
            exclude=self.run.seen('val'),
            k=self.k,
            popularity=self.popularity,
            features=item_vectors(self.run.train),
        )

    @cached_property
    def measured(self) -> tuple[dict[str, float], dict[str, float]]:
        """Metrics of the model and of the best-sellers, by their names without the cut-off."""
        ours, theirs = (
            {name.partition('@')[0]: value for name, value in lists.evaluate(MEASURED).items()}
            for lists in (self.lists, self.best_sellers)
        )
        return ours, theirs

    @cached_property
    def found(self) -> tuple[Tensor, Tensor]:
        """The share of the held-out choices of each person that the lists have.

        Shape: ``[N]``, for the model and for the best-sellers.
        """
        ours, theirs = (
            lists.per_user('recall')[f'recall@{self.k}']
            for lists in (self.lists, self.best_sellers)
        )
        return ours, theirs

    @cached_property
    def test(self) -> PairedTest | None:
        """Whether the model finds more than the best-sellers, :obj:`None` for one person."""
        ours, theirs = self.found
        return paired_t_test(theirs, ours) if len(ours) > 1 else None

    @cached_property
    def choices(self) -> str:
        """What held-out interactions are called: ``'later choices'`` or ``'hidden choices'``."""
        is_random = self.run.settings.split in (None, 'random')
        return 'hidden choices' if is_random else 'later choices'

    def owned(self, user: int) -> list[int]:
        """Return the products of a person in train, the latest first where times are known."""
        store = self.run.train[INTERACTS]
        mine = store.edge_index[0] == user
        items = store.edge_index[1][mine]
        if 'time' in store:
            items = items[store.time[mine].argsort(descending=True, stable=True)]
        return list(dict.fromkeys(items.tolist()))

    def wanted(self, user: int) -> list[int]:
        """Return the held-out products of a person."""
        held_out = self.lists.target
        return held_out[1][held_out[0] == user].tolist()
