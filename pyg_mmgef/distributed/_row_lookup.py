import torch
from torch import Tensor
from torch.nn import Module, Parameter

__all__ = ['RowLookup']


class RowLookup(Module):
    """Stands in a model for a table that is sharded, and answers with the rows of a batch.

    All rows of a batch are fetched at once, before the model runs, so the processes exchange the
    same messages whatever a model reads and in which order.

    Args:
        name: The table, for messages.
        num_embeddings: Rows of the whole table.
        embedding_dim: Channels.
    """

    def __init__(self, name: str, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.name, self.num_embeddings, self.embedding_dim = name, num_embeddings, embedding_dim
        # By this a model counts as one with parameters.
        self.placeholder = Parameter(torch.empty(0), requires_grad=False)
        self._held: tuple[Tensor, Tensor] | None = None

    def hold(self, ids: Tensor, rows: Tensor) -> None:
        """Hold the rows of some ids until :meth:`release`."""
        self._held = ids, rows

    def release(self) -> None:
        """Let go of the rows."""
        self._held = None

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of ids that are among those of the batch."""
        if self._held is None:
            raise RuntimeError(
                f'{self.name} is sharded, so its rows are there only within a call of ShardedModel;'
                ' call that instead of the model'
            )
        known, rows = self._held
        if ids is known:
            return rows
        known, order = known.sort()
        place = torch.searchsorted(known, ids.contiguous()).clamp_(max=max(known.numel() - 1, 0))
        if ids.numel() and (known.numel() == 0 or not torch.equal(known[place], ids)):
            raise ValueError(
                f'{self.name} is read at ids that are not in the n_id of the batch; read no others'
            )
        return rows[order[place]]

    @property
    def weight(self) -> Tensor:
        """Not there: no process holds the whole table."""
        raise RuntimeError(
            f'{self.name}.weight is sharded, no process holds it whole; train on sampled batches, '
            'and write a plain model with export_checkpoint'
        )

    def extra_repr(self) -> str:
        """Return the size of the table."""
        return f'{self.num_embeddings}, {self.embedding_dim}'
