"""The curves of the training, as drawings with few numbers."""

from collections.abc import Sequence
from typing import Any

from pyg_mmgef.report._evidence import Evidence

__all__ = ['curve', 'training']

WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 26, 34


def training(evidence: Evidence) -> dict[str, Any] | None:
    """Return the curves of loss and validation, :obj:`None` for a model that isn't trained."""
    history = evidence.run.history
    if not history:
        return None
    epochs = [int(row['epoch']) + 1 for row in history]
    name = f'val_recall@{evidence.k}'
    best = max(range(len(history)), key=lambda place: history[place][name])
    return {
        'best': epochs[best],
        'epochs': epochs[-1],
        'k': evidence.k,
        'curves': [
            curve(
                f'Share of hidden choices found (recall@{evidence.k})',
                epochs,
                [row[name] for row in history],
                best,
            ),
            curve('Loss in training', epochs, [row['train_loss'] for row in history], best),
        ],
    }


def curve(title: str, x: Sequence[int], y: Sequence[float], best: int) -> dict[str, Any]:
    """Return a line with its ticks in the coordinates of the drawing.

    Args:
        title: What is drawn.
        x: The epochs, in increasing order.
        y: The value of each.
        best: The place of the best epoch, which is marked.
    """
    from matplotlib.ticker import MaxNLocator

    ticks = {
        'x': [
            t for t in MaxNLocator(6, integer=True).tick_values(x[0], x[-1]) if x[0] <= t <= x[-1]
        ],
        'y': list(MaxNLocator(4).tick_values(min(y), max(y))),
    }
    low, high = ticks['y'][0], ticks['y'][-1]

    def across(value: float) -> float:
        width = WIDTH - LEFT - RIGHT
        return round(LEFT + width * (value - x[0]) / max(x[-1] - x[0], 1), 1)

    def down(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low), 1)

    return {
        'title': title,
        'size': (WIDTH, HEIGHT),
        'frame': (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
        'points': ' '.join(f'{across(a)},{down(b)}' for a, b in zip(x, y, strict=True)),
        'x_ticks': [(across(t), f'{t:.0f}') for t in ticks['x']],
        'y_ticks': [(down(t), f'{t:.4g}') for t in ticks['y']],
        'mark': (across(x[best]), down(y[best]), f'best: epoch {x[best]}, {y[best]:.4g}'),
        'is_right': across(x[best]) > (LEFT + WIDTH) / 2,
    }
