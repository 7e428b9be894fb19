import io
from pathlib import Path

from pyg_mmgef.files import write_atomically

__all__ = ['curves', 'save_curves']


def curves(history: list[dict[str, float]], image_format: str = 'png') -> bytes:
    """Return a plot of the loss, and of recall and NDCG on validation at the largest cut-off.

    Args:
        history: The loss and the metrics of each epoch, at least one.
        image_format: ``'png'`` or ``'svg'``. (default: ``'png'``)
    """
    from matplotlib.figure import Figure  # Not pyplot, which has global state.

    figure = Figure(figsize=(9, 3.2), layout='constrained')
    left, right = figure.subplots(1, 2)
    epochs = [row['epoch'] + 1 for row in history]
    left.plot(epochs, [row['train_loss'] for row in history], color='tab:grey')
    left.set(xlabel='epoch', ylabel='train loss')
    cutoff = max(int(name.partition('@')[2]) for name in history[0] if '@' in name)
    for metric in (f'recall@{cutoff}', f'ndcg@{cutoff}'):
        right.plot(epochs, [row[f'val_{metric}'] for row in history], label=metric)
    right.set(xlabel='epoch', ylabel='validation')
    right.legend(frameon=False)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    out = io.BytesIO()
    figure.savefig(out, format=image_format, dpi=120)
    return out.getvalue()


def save_curves(path: Path, history: list[dict[str, float]]) -> None:
    """Write the plot of :func:`curves` as PNG."""
    write_atomically(path, curves(history))
