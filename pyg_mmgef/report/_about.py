"""What the run was made of: data, model, item graphs and versions."""

from typing import Any

from pyg_mmgef import __version__
from pyg_mmgef.nn import MMGEF
from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._item_graphs import item_graphs
from pyg_mmgef.report._similar import relation_in_words
from pyg_mmgef.runs.models import NEIGHBORS
from pyg_mmgef.runs.run import Run

__all__ = ['about']


def about(evidence: Evidence) -> dict[str, Any]:
    """Return the facts for those who want to repeat the run."""
    run = evidence.run
    settings = run.settings
    versions = {'pyg_mmgef': __version__} if run.folder is None else run.folder.config['versions']
    facts = {
        'model': settings.preset or settings.model,
        **{
            name.replace('_', ' '): value
            for name, value in settings.to_dict().items()
            if name not in ('model', 'preset') and value not in (None, (), [], {})
        },
    }
    return {
        'counts': _counts(evidence),
        'settings': facts,
        'fingerprint': run.source.fingerprint,
        'attention': _attention(run),
        'graphs': item_graphs(run.train, settings.neighbors or NEIGHBORS),
        'versions': versions,
        'run': None if run.folder is None else run.folder.path.name,
    }


def _counts(evidence: Evidence) -> dict[str, int]:
    """Return what was read, in the words of the page."""
    facts = evidence.run.source.about
    counts = {'users': evidence.num_users, 'items': evidence.num_items, **facts['report']}
    counts |= {f'items with {name}': about['items'] for name, about in facts['modalities'].items()}
    return {
        words.replace('item', 'product').replace('users', 'people'): n
        for words, n in counts.items()
        if n
    }


def _attention(run: Run) -> list[tuple[str, str, float]]:
    """Return the mean and the standard deviation of each item graph's attention."""
    model = run.model
    if not isinstance(model, MMGEF) or model.item_encoder.attention is None:
        return []
    alpha = model.alpha(run.train)
    deviation = alpha.std(dim=0, correction=0).tolist()
    return [
        (
            relation_in_words(name),
            f'{mean:.3f}' + (f' ± {spread:.3f}' if spread > 0.0005 else ''),
            round(100 * mean, 1),
        )
        for name, mean, spread in zip(
            model.item_graphs, alpha.mean(dim=0).tolist(), deviation, strict=True
        )
    ]
