import os
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pyg_mmgef.runs._train_run import train_run
from pyg_mmgef.runs.models import models, presets
from pyg_mmgef.runs.run import Run
from pyg_mmgef.runs.run_data import as_source
from pyg_mmgef.settings import Settings

__all__ = ['fit']

BEST = 'best'


def fit(
    data: Any,
    model: str = BEST,
    *,
    split: str | None = None,
    budget: float | None = None,
    folder: str | os.PathLike[str] | None = None,
    device: str = 'auto',
    verbose: bool = False,
    **options: Any,
) -> Run:
    """Split data, train a model, measure it, and return what recommends.

    ``pyg-mmgef train`` does the same. The epoch of a model that is trained is chosen on
    validation, and test is read once, at the end.

    Args:
        data: The folder that ``pyg-mmgef prepare`` wrote, a graph in the schema of this package, or
            a data set of one graph. Texts and pictures of
            :class:`~pyg_mmgef.datasets.InteractionTables` without features are encoded by small
            encoders that need no download.
        model: ``'best'``, which is :class:`~pyg_mmgef.nn.ContentIALS` with options chosen on
            validation; the name of a model, such as ``'lightgcn'`` (``pyg-mmgef models`` lists
            them); or of a preset: ``'paper'``, ``'item_dropout'`` or ``'merged'``.
            (default: ``'best'``)
        split: How interactions are held out, see :class:`~pyg_mmgef.transforms.SplitInteractions`;
            :obj:`None` means the default of the settings. (default: :obj:`None`)
        budget: Seconds for choosing the options of ``'best'``; ``0`` keeps their defaults.
            (default: :obj:`None`, a minute)
        folder: Folder of the run, from which :meth:`Run.load <pyg_mmgef.Run.load>` reads it. If it
            holds an interrupted run with the same settings, that continues. :obj:`None` keeps the
            run in memory. (default: :obj:`None`)
        device: Where to train: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, or ``'auto'`` for a GPU if
            there is one. (default: ``'auto'``)
        verbose: Whether to print what is done, with a progress bar. (default: :obj:`False`)
        **options: Other options of ``pyg-mmgef train``, with underscores: those of the model and of
            training, such as ``embedding_dim``, ``l2``, ``epochs``, ``lr`` or ``seed``.

    Returns:
        The run.

    Raises:
        ImportError: If a model is trained in epochs, and Lightning isn't installed.
        TypeError: If the data is of an unknown kind, or an option isn't known.
        ValueError: If the data isn't in the schema, too small to be split, or doesn't fit the
            model; if an option isn't one of the model's; or if the folder holds another run.

    Example:
        .. code-block:: python

            from pyg_mmgef import fit
            from pyg_mmgef.datasets import InteractionTables

            run = fit(InteractionTables('clicks.csv', 'products.csv', text='title'))
            run.recommend('anna', k=5)
    """
    known = [field.name for field in fields(Settings) if field.name not in ('model', 'preset')]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            advice = f'did you mean {near[0]!r}?' if near else f'they are {", ".join(known)}'
            raise TypeError(f'fit() has no option {name!r}; {advice}')
    if model != BEST:
        is_preset = model not in models() and model in presets()
        options['preset' if is_preset else 'model'] = model
    if split is not None:
        options['split'] = split
    if budget is not None:
        options['tune'] = budget
    return train_run(
        as_source(data),
        Settings(**options),
        None if folder is None else Path(folder).expanduser(),
        device=device,
        say=print if verbose else _silent,
        show_progress=verbose,
    )


def _silent(line: str) -> None:
    """Print nothing."""
