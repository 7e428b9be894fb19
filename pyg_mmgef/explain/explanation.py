from collections.abc import Sequence
from dataclasses import dataclass, field

from pyg_mmgef.explain._words import sentences
from pyg_mmgef.explain.part import Part
from pyg_mmgef.validate import check_choice, check_positive

__all__ = ['Explanation']

SIDES = ('user', 'item')


@dataclass(frozen=True)
class Explanation:
    r"""Why an item has its score for a user: the terms that add up to it.

    A score :math:`\mathbf{z}_u^{\top} \mathbf{z}_i` is split in two ways, by what the user's
    embedding consists of and by what the item's does. Each split adds up to the whole score. The
    kinds of parts by the user's side:

    * ``'history'``: what an item that the user has adds, one part for each of them;
    * ``'user'``: what the user's own embedding adds;
    * ``'popularity'``: how popular the item is, the same for all users;
    * ``'constant'``: a learned constant, the same for all users;
    * ``'residual'``: how far an iterative solution is from the sum of the other parts;

    and by the item's side:

    * ``'collaborative'``: what interactions with the item have taught;
    * ``'neighbours'``: what a similar item sends over an item graph, one part for each pair of a
      neighbour and a graph;
    * ``'modality'``: what a modality of the item's content says; ``'content'``: all together, where
      a model can't tell them apart;
    * ``'average'``: what items have in common, whatever their content;
    * ``'bias'`` and ``'popularity'``: how well the item is liked by all;
    * ``'item'``: the item's whole embedding, where the model doesn't split it.
    """

    user: int
    """The user's row."""
    item: int
    """The item's row."""
    score: float
    """The model's score."""
    by_user: tuple[Part, ...] | None
    """The parts by the user's side, the largest first; :obj:`None` where there is no such split."""
    by_item: tuple[Part, ...] | None
    """The parts by the item's side, the largest first; :obj:`None` where there is no such split."""
    titles: Sequence[str] | None = field(default=None, repr=False, compare=False)
    """The titles of all items, by row, for :meth:`words`."""

    def __str__(self) -> str:
        return super().__str__() if self.titles is None else '\n'.join(self.words())

    def words(
        self,
        titles: Sequence[str] | None = None,
        side: str | None = None,
        *,
        most: int = 3,
        verb: str = 'chose',
    ) -> list[str]:
        """Return the reasons as short sentences.

        Percentages are shares of all that speaks for the item. Where nothing speaks against it,
        that is the score. What speaks against it is said in a sentence of its own.

        Args:
            titles: The titles of all items, by row; :obj:`None` means :attr:`titles`. They are
                plain text: escape the sentences before they become part of a web page.
                (default: :obj:`None`)
            side: ``'user'`` or ``'item'``, for the split by the user's or by the item's side;
                :obj:`None` takes the first that there is. (default: :obj:`None`)
            most: How many reasons get a sentence of their own. (default: ``3``)
            verb: What users do with items, in the past. (default: ``'chose'``)

        Raises:
            ValueError: If the side is unknown, there is no such split, or titles are missing.

        Example:
            >>> parts = Part('history', 0.3, item=1), Part('user', 0.1)
            >>> explanation = Explanation(0, 2, 0.4, by_user=parts, by_item=None)
            >>> explanation.words(['Lamp', 'Rattan stool', 'Sofa'], verb='bought')
            ["75 % because you bought 'Rattan stool'.", '25 % because of your taste in general.']
        """
        check_positive('most', most)
        splits = {'user': self.by_user, 'item': self.by_item}
        if side is None:
            side = 'user' if self.by_user is not None else 'item'
        check_choice('side', side, SIDES)
        parts = splits[side]
        if parts is None:
            raise ValueError(f"the score isn't split by the side of {side!r}; choose the other one")
        titles = self.titles if titles is None else titles
        if titles is None:
            raise ValueError("'titles' is None, and the explanation has none; give them by row")
        rows = [part.item for part in parts if part.item is not None]
        if rows and max(rows) >= len(titles):
            raise ValueError(
                f"'titles' must have a title for each item (got {len(titles)}, and a reason is the "
                f'item in row {max(rows)})'
            )
        return sentences(parts, titles, most, verb)
