import io
from pathlib import Path

from pyg_mmgef.files import write_atomically

__all__ = ['save_curves']


def save_curves(path: Path, history: list[dict[str, float]]) -> None:
    """Write a plot of the loss, and of recall and NDCG on validation at the largest cut-off.

    Where nothing was held out, the plot is that of the loss alone.

    Args:
        path: The PNG file.
        history: The loss and the metrics of each epoch, at least one.
    """
    from matplotlib.figure import Figure  # Not pyplot, which has global state.

    cutoffs = [int(name.partition('@')[2]) for name in history[0] if '@' in name]
    figure = Figure(figsize=(9 if cutoffs else 4.5, 3.2), layout='constrained')
    left, *others = figure.subplots(1, 2 if cutoffs else 1, squeeze=False)[0]
    epochs = [row['epoch'] + 1 for row in history]
    left.plot(epochs, [row['train_loss'] for row in history], color='tab:grey')
    left.set(xlabel='epoch', ylabel='train loss')
    for right in others:
        for metric in (f'recall@{max(cutoffs)}', f'ndcg@{max(cutoffs)}'):
            right.plot(epochs, [row[f'val_{metric}'] for row in history], label=metric)
        right.set(xlabel='epoch', ylabel='validation')
        right.legend(frameon=False)
    for axis in (left, *others):
        axis.grid(alpha=0.3)
    out = io.BytesIO()
    figure.savefig(out, format='png', dpi=120)
    write_atomically(path, out.getvalue())
