"""The steps of a run: settings, split, training, evaluation."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch_geometric import seed_everything
from torch_geometric.data import HeteroData

from pyg_mmgef._spelling import spelt, spelt_with
from pyg_mmgef.files import disk_errors_name, read_json, write_json
from pyg_mmgef.nn import Recommender
from pyg_mmgef.nn.models._solved import SolvedRecommender
from pyg_mmgef.runs._best_options import CHOSEN, best_options
from pyg_mmgef.runs._say import Say
from pyg_mmgef.runs.baselines import baselines
from pyg_mmgef.runs.devices import checked_device
from pyg_mmgef.runs.losses import build_loss, check_negatives, loader_options
from pyg_mmgef.runs.models import NEIGHBORS, build_model, complete
from pyg_mmgef.runs.run import CUTOFFS, Run, RunParts, fitting_cutoffs
from pyg_mmgef.runs.run_data import Source
from pyg_mmgef.runs.run_folder import TRAIN_AGAIN, RunFolder
from pyg_mmgef.runs.sizes import check_memory, fitting_size, sampled_users
from pyg_mmgef.runs.splits import NONE, Split, choose_split, held_out, split_folds, who_is_new
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.settings import Settings

__all__ = ['built', 'epochs_of', 'train_epochs', 'train_run', 'where_it_stopped']

FOLDS = 'folds.json'


def train_run(
    source: Source,
    settings: Settings,
    folder: Path | None,
    *,
    device: str = 'auto',
    say: Say,
    show_progress: bool = False,
    start: Run | None = None,
) -> Run:
    """Train and evaluate a model, or continue a run that was interrupted.

    A model without parameters is only evaluated.

    Args:
        source: The dataset.
        settings: The options as given.
        folder: The folder of the run; :obj:`None` keeps the run in memory.
        device: The device to train on; it may change when a run is continued.
            (default: ``'auto'``)
        say: Called with each line to print.
        show_progress: Whether to show the epochs. (default: :obj:`False`)
        start: A run on the same dataset without its last rows, whose settings are used, and from
            whose parameters training starts. (default: :obj:`None`)

    Raises:
        KeyboardInterrupt: After Ctrl-C; the last finished epoch is on disk.
        ValueError: If the folder holds another run, the settings don't fit the data, or the device
            isn't available.
    """
    checked_device(device)
    given = settings
    # After an update, earlier folds would be measured by a model that has seen them.
    settings = replace(settings, folds=1) if start else complete(settings, source.encoders)
    data = source.data()
    settings, why = choose_split(settings, data)
    if settings.split == NONE:
        raise ValueError(
            f'{spelt_with("split", NONE)} leaves nothing to choose and to measure by; train with '
            'a split first, then refit that run'
        )
    *earlier, latest = split_folds(settings, data)
    sizes: list[str] = []
    if start is None:
        sized, sizes = fitting_size(replace(given, split=settings.split), *latest[:2])
        settings = complete(sized, source.encoders)
    check_memory(settings, latest[0])
    for line in filter(None, (why, who_is_new(latest), _what_ratings_do(data), *sizes)):
        say(line)
    best, solved = settings, None
    if start is None:
        best, solved = best_options(settings, given, latest, say, folder)
    # Each fold chooses for itself, also when the run is repeated.
    repeated = _as_given(best, given) if earlier and solved is not None else None
    parts = built(best, latest)
    _reuse(solved, parts.model)
    if start is not None:
        model = start.model.grow(parts.model.num_users, parts.model.num_items, parts.train)
        parts = parts._replace(model=model)
    work = None if folder is None else RunFolder.start(folder, source, best, repeated=repeated)
    if work is not None and work.metrics is not None:
        say(f'{work.path} holds this run already, finished; nothing is trained again')
        return Run(source, best, work.metrics, folder=work)
    _say_what_is_smaller(best, parts.model, say)
    run = _fitted(source, best, parts, work, device, say, show_progress)
    run._repeated = repeated
    run.metrics = _metrics(run)
    if start is not None and run.model.has_parameters:
        run.metrics['epochs_before'] = epochs_of(start)
    if earlier:
        folds = _earlier_folds(source, settings, given, earlier, work, device, say, show_progress)
        run.metrics['folds'] = [*folds, _measured(run)]
    run._embed_new_users()
    if work is not None:
        work.finish(run.metrics, run.embeddings, run.fold_in_if_any(), run.model, run.history)
        run.folder = work
    return run


def epochs_of(run: Run) -> int:
    """Return for how many epochs a model was trained, those before updates included."""
    return run.metrics.get('epochs_before', 0) + run.metrics['best_epoch'] + 1


def where_it_stopped(run: RunFolder, say: Say) -> Path | None:
    """Return the last checkpoint of a run that was interrupted, and say so."""
    if not run.last_checkpoint.exists():
        return None
    say(f'continuing after epoch {len(run.history())} of {run.path}')
    return run.last_checkpoint


def built(settings: Settings, split: Split) -> RunParts:
    """Return a new model, which isn't trained yet, with the data that it needs.

    Raises:
        ValueError: If the data doesn't fit the model, or has no negatives where it needs some.
    """
    seed_everything(settings.seed)
    train, model = build_model(settings, split[0])
    if model.has_parameters:
        check_negatives(settings, model, train)
    return RunParts(model, train, *split[1:])


def _as_given(settings: Settings, given: Settings) -> Settings:
    """Return settings in which what was chosen on validation is as it was given."""
    return replace(settings, **{name: getattr(given, name) for name in CHOSEN})


def _reuse(solved: Recommender | None, model: Recommender) -> None:
    """Give a model the solution of one with the same options, which need not be computed again."""
    if isinstance(solved, SolvedRecommender) and isinstance(model, SolvedRecommender):
        solution = solved.packed_solution()
        if solution is not None and repr(solved) == repr(model):
            model.give_solution(*solution)


def _fitted(
    source: Source,
    settings: Settings,
    parts: RunParts,
    folder: RunFolder | None,
    device: str,
    say: Say,
    show_progress: bool,
) -> Run:
    """Train a model, and return it in its best epoch, without metrics and folder."""
    history: list[dict[str, float]] = []
    if parts.model.has_parameters:
        with TemporaryDirectory() as place:
            work = folder or RunFolder.start(Path(place), source, settings, copy_data=False)
            # A copy is trained, so that the best epoch is loaded into a model with empty caches.
            copied = parts._replace(model=deepcopy(parts.model))
            last = where_it_stopped(work, say)
            show = say if show_progress else None
            train_epochs(work.path, settings, copied, device, ckpt_path=last, say=show)
            work.load_parameters(parts.model)
            history = work.history()
    parts.model.eval()
    run = Run(source, settings, parts=parts, history=history)
    run._scale_cold_items()
    return run


def _metrics(run: Run) -> dict[str, Any]:
    """Return everything that is known about a run."""
    cutoffs = fitting_cutoffs(run.model.num_items)
    key = f'val_recall@{cutoffs[-1]}'
    best = max(run.history, key=lambda row: row[key], default={'epoch': 0})
    return {
        'best_epoch': int(best['epoch']),
        'epochs': len(run.history),
        'cold_scale': run.model.cold_scale,
        **_measured(run),
        'held_out': {'val': held_out(run.val), 'test': held_out(run.test)},
        'baselines': baselines(run.train, run.val, run.test, cutoffs),
    }


def _measured(run: Run) -> dict[str, float]:
    """Return the metrics on validation and test."""
    return {
        f'{part}_{name}': value
        for part in ('val', 'test')
        for name, value in run.evaluate(part).items()
    }


def _earlier_folds(
    source: Source,
    settings: Settings,
    given: Settings,
    splits: list[Split],
    work: RunFolder | None,
    device: str,
    say: Say,
    show_progress: bool,
) -> list[dict[str, float]]:
    """Return the metrics of earlier folds; the folder keeps those that are finished.

    Each fold chooses its options on its own validation part, since those that are best today were
    not known then.
    """
    path = None if work is None else work.path / FOLDS
    folds = read_json(path, TRAIN_AGAIN)['folds'] if path is not None and path.is_file() else []
    for number, split in enumerate(splits[len(folds) :], start=len(folds) + 1):
        say(f'fold {number} of {len(splits) + 1}')
        best, solved = best_options(settings, given, split, say)
        parts = built(best, split)
        _reuse(solved, parts.model)
        run = _fitted(source, best, parts, None, device, say, show_progress)
        folds.append(_measured(run))
        if path is not None:
            write_json(path, {'folds': folds})
    return folds


def _what_ratings_do(data: HeteroData) -> str:
    """Return a line on what ratings are for, empty without any."""
    if 'rating' not in data[INTERACTS]:
        return ''
    return (
        f'ratings only filter interactions, by {spelt("min_rating")} of the tables; training '
        'counts all that are left the same'
    )


def _say_what_is_smaller(settings: Settings, model: Recommender, say: Say) -> None:
    """Say which cut-offs and neighbours a small catalogue has instead of the usual ones."""
    cutoffs = fitting_cutoffs(model.num_items)
    why = f'as there are {model.num_items} items'
    if cutoffs != CUTOFFS:
        word = 'cut-offs' if len(cutoffs) > 1 else 'cut-off'
        say(f'{word} {" and ".join(map(str, cutoffs))}, {why}')
    neighbors = settings.neighbors or (NEIGHBORS if model.reads_graphs else 0)
    if neighbors >= model.num_items:
        say(f'at most {model.num_items - 1} neighbours of an item, not {neighbors}, {why}')


def train_epochs(
    folder: Path,
    settings: Settings,
    parts: RunParts,
    device: str,
    *,
    say: Say | None = None,
    ckpt_path: Path | None = None,
    **kwargs: Any,
) -> list[dict[str, float]]:
    """Train a model with Lightning, and return the loss and the metrics of each epoch.

    Args:
        folder: The folder of the run.
        settings: Completed settings.
        parts: The model, which is trained in place, and the split.
        device: The device to train on.
        say: Called with a line on each epoch, unless a terminal shows a bar; :obj:`None` shows
            neither. (default: :obj:`None`)
        ckpt_path: The checkpoint to continue after. (default: :obj:`None`)
        **kwargs: Other arguments of :func:`~pyg_mmgef.training.make_trainer`.
    """
    from pyg_mmgef.training import (
        EpochProgress,
        InteractionDataModule,
        RankingModule,
        make_trainer,
    )
    from pyg_mmgef.training._epoch_history import EpochHistory
    from pyg_mmgef.training._quiet import quiet_lightning

    place = checked_device(device)
    cutoffs = fitting_cutoffs(parts.model.num_items)
    assert settings.lr is not None
    assert settings.epochs is not None
    assert settings.patience is not None
    assert settings.precision is not None
    module = RankingModule(parts.model, build_loss(settings), lr=settings.lr, k=cutoffs)
    val = sampled_users(parts.val, settings.val_users, settings.seed)
    data = InteractionDataModule(
        parts.train, val, parts.test, seed=settings.seed, **loader_options(settings)
    )
    history = EpochHistory()
    callbacks = [history, *kwargs.pop('callbacks', ())]
    if say is not None:
        callbacks.append(EpochProgress(say))
    options: dict[str, Any] = {'ckpt_path': ckpt_path, 'weights_only': True}
    with quiet_lightning():
        trainer = make_trainer(
            folder,
            max_epochs=settings.epochs,
            monitor=None if settings.split == NONE else f'val_recall@{cutoffs[-1]}',
            patience=settings.patience,
            precision=settings.precision,
            accelerator=place.type,
            devices=1 if place.index is None else [place.index],
            enable_model_summary=False,
            enable_progress_bar=say is not None,
            callbacks=callbacks,
            **kwargs,
        )
        try:
            with disk_errors_name(folder):
                trainer.fit(module, data, **options)
        except SystemExit as error:  # Lightning turns Ctrl-C into it.
            raise KeyboardInterrupt from error
    return history.rows
