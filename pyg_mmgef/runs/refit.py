import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pyg_mmgef.runs._say import say_if
from pyg_mmgef.runs._train_run import built, epochs_of, train_epochs, where_it_stopped
from pyg_mmgef.runs.devices import checked_device
from pyg_mmgef.runs.run import Run
from pyg_mmgef.runs.run_folder import RunFolder
from pyg_mmgef.runs.splits import NONE, split_data

__all__ = ['refit']


def refit(
    run: Run,
    folder: str | os.PathLike[str] | None = None,
    *,
    device: str = 'auto',
    verbose: bool = False,
) -> Run:
    """Train the model of a run on all interactions, those held out included, to be served.

    What validation has chosen stays: the options, the number of epochs, those
    before updates included, the scale of cold items.
    Nothing is left to measure; the metrics are those of the run.

    Args:
        run: The run.
        folder: Folder of the new run. If it holds this refit, interrupted, that continues.
            :obj:`None` keeps the run in memory. (default: :obj:`None`)
        device: Where to train, see :func:`~pyg_mmgef.fit`. (default: ``'auto'``)
        verbose: Whether to print what is done. (default: :obj:`False`)

    Raises:
        ValueError: If the folder holds another run, or the device isn't available.

    Example:
        .. code-block:: python

            run = fit('shop')
            print(run.metrics)
            run.refit('runs/live').export('export')
    """
    checked_device(device)
    say = say_if(verbose)
    epochs = epochs_of(run) if run.model.has_parameters else run.settings.epochs
    settings = replace(run.settings, split=NONE, folds=1, epochs=epochs)
    parts = built(settings, split_data(settings, run.source.data()))
    work = None
    if folder is not None:
        work = RunFolder.start(Path(folder).expanduser(), run.source, settings)
        if work.metrics is not None:
            say(f'{str(work.path)!r} is trained already')
            return Run(run.source, settings, work.metrics, folder=work)
    history = []
    if parts.model.has_parameters:
        with TemporaryDirectory() as place:
            path = Path(place) if work is None else work.path
            say(f'training for {epochs} epochs on all interactions')
            last = None if work is None else where_it_stopped(work, say)
            show = say if verbose else None
            history = train_epochs(path, settings, parts, device, ckpt_path=last, say=show)
    parts.model.cold_scale = run.model.cold_scale
    fitted = Run(
        run.source,
        settings,
        {**run.metrics, 'measured_on': run.settings.split},
        parts=parts._replace(model=parts.model.eval()),
        history=history,
    )
    if work is not None:
        if parts.model.has_parameters:
            work.save_parameters(parts.model, fitted.history)
        work.finish(
            fitted.metrics,
            fitted.embeddings,
            fitted.fold_in_if_any(),
            fitted.model,
            fitted.history,
        )
        fitted.folder = work
    return fitted
