import os
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pyg_mmgef.runs._say import say_if
from pyg_mmgef.runs._train_run import train_run
from pyg_mmgef.runs.models import further_options, models, presets
from pyg_mmgef.runs.run import Run
from pyg_mmgef.runs.run_data import as_source
from pyg_mmgef.settings import DEFAULT_MODEL, Settings

__all__ = ['as_settings', 'fit']

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
            :obj:`None` is ``'global_time'``, a cut in time for all users, if the interactions have
            times, and else ``'random'``. (default: :obj:`None`)
        budget: Seconds after which no further options of ``'best'`` are tried; ``0`` keeps their
            defaults. :obj:`None` tries all nine, so that the result doesn't depend on the clock.
            (default: :obj:`None`)
        folder: Folder of the run, from which :meth:`Run.load <pyg_mmgef.Run.load>` reads it. If it
            holds an interrupted run with the same settings, that continues. :obj:`None` keeps the
            run in memory. (default: :obj:`None`)
        device: Where to train: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, or ``'auto'`` for a GPU if
            there is one. (default: ``'auto'``)
        verbose: Whether to print what is done, with a progress bar. (default: :obj:`False`)
        **options: Other options of ``pyg-mmgef train``, with underscores: those of the model and of
            training, such as ``embedding_dim``, ``l2``, ``epochs``, ``lr`` or ``seed``; and all
            other arguments of the model's constructor. With ``folds=3``, the same is done at two
            earlier times as well, see :func:`~pyg_mmgef.transforms.rolling_folds`, and
            ``run.metrics['folds']`` has the metrics of all, from the earliest.

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
    if split is not None:
        options['split'] = split
    if budget is not None:
        options['budget'] = budget
    return train_run(
        as_source(data),
        as_settings(model, options, 'fit'),
        None if folder is None else Path(folder).expanduser(),
        device=device,
        say=say_if(verbose),
        show_progress=verbose,
    )


def as_settings(model: str, options: Mapping[str, Any], function: str) -> Settings:
    """Return the settings that the arguments of a function mean.

    Args:
        model: ``'best'``, the name of a model, or of a preset.
        options: Fields of the settings, and further arguments of the model's constructor.
        function: The name of the function, for the message.

    Raises:
        TypeError: If an option isn't known.
    """
    given = dict(options)
    if model != BEST:
        given['preset' if model not in models() and model in presets() else 'model'] = model
    known = [field.name for field in fields(Settings) if field.name not in ('model', 'preset')]
    has = models().get(DEFAULT_MODEL if model == BEST else model)
    further = [] if has is None else further_options(has)
    for name in options:
        if name in known:
            continue
        if name not in further:
            near = get_close_matches(name, [*known, *further], n=1)
            advice = f'did you mean {near[0]!r}?' if near else f'they are {", ".join(known)}'
            raise TypeError(f'{function}() has no option {name!r}; {advice}')
        given['options'] = {**given.get('options', {}), name: given.pop(name)}
    return Settings(**given)
