"""The steps of a run: settings, split, training, evaluation."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch_geometric import seed_everything
from torch_geometric.data import HeteroData

from pyg_mmgef._folders import CONFIG
from pyg_mmgef._spelling import spelt
from pyg_mmgef.files import disk_errors_name
from pyg_mmgef.nn import Recommender
from pyg_mmgef.runs.baselines import baselines
from pyg_mmgef.runs.choose import candidates, choose
from pyg_mmgef.runs.devices import checked_device
from pyg_mmgef.runs.losses import build_loss, check_negatives, loader_options
from pyg_mmgef.runs.models import NEIGHBORS, build_model, complete
from pyg_mmgef.runs.plots import save_curves
from pyg_mmgef.runs.run import CUTOFFS, Run, RunParts, fitting_cutoffs
from pyg_mmgef.runs.run_data import Source
from pyg_mmgef.runs.run_folder import RunFolder
from pyg_mmgef.runs.splits import split_data
from pyg_mmgef.settings import DEFAULT_MODEL, Settings
from pyg_mmgef.transforms import AddCoInteractionGraph

__all__ = ['Say', 'train_run']

TUNED = ('l2', 'unobserved_weight')
TUNE_SECONDS = 60.0

Say = Callable[[str], None]
"""Called with each line to print."""


def train_run(
    source: Source,
    settings: Settings,
    folder: Path | None,
    *,
    device: str = 'auto',
    say: Say,
    show_progress: bool = False,
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
        show_progress: Whether to draw progress bars. (default: :obj:`False`)

    Raises:
        KeyboardInterrupt: After Ctrl-C; the last finished epoch is on disk.
        ValueError: If the folder holds another run, the settings don't fit the data, or the device
            isn't available.
    """
    checked_device(device)
    settings, given = complete(settings, source.encoders), settings
    train, val, test = split_data(settings, source.data())
    is_open = settings.model == DEFAULT_MODEL and all(getattr(given, x) is None for x in TUNED)
    if given.tune is None and is_open:
        settings = replace(settings, tune=TUNE_SECONDS)
    if settings.tune:
        settings = _tuned(settings, given, train, val, folder)
    seed_everything(settings.seed)
    train, model = build_model(settings, train)
    if model.has_parameters:
        check_negatives(settings, model, train)
    run = None if folder is None else RunFolder.start(folder, source, settings)
    if run is not None and run.metrics is not None:
        return Run(source, settings, run.metrics, folder=run)
    cutoffs = fitting_cutoffs(model.num_items)
    _say_what_is_smaller(settings, model, cutoffs, say)
    history: list[dict[str, float]] = []
    if model.has_parameters:
        with TemporaryDirectory() as place:
            work = run or RunFolder.start(Path(place), source, settings, copy_data=False)
            # A copy is trained, so that the best epoch is loaded into a model with empty caches.
            _fit(work, deepcopy(model), (train, val, test), device, cutoffs, show_progress)
            work.load_parameters(model)
            history = work.history()
    fitted = Run(source, settings, parts=RunParts(model.eval(), train, val, test), history=history)
    fitted.scale_cold_items()
    best = max(history, key=lambda row: row[f'val_recall@{cutoffs[-1]}'], default={'epoch': 0})
    fitted.metrics = {
        'best_epoch': int(best['epoch']),
        'epochs': len(history),
        'cold_scale': model.cold_scale,
        **{
            f'{part}_{name}': value
            for part in ('val', 'test')
            for name, value in fitted.evaluate(part, cutoffs).items()
        },
        'baselines': baselines(train, val, test, cutoffs),
    }
    if run is not None:
        if history:
            save_curves(run.path / 'curves.png', history)
        run.finish(fitted.metrics, fitted.embeddings)
        fitted.folder = run
    return fitted


def _say_what_is_smaller(
    settings: Settings, model: Recommender, cutoffs: tuple[int, ...], say: Say
) -> None:
    """Say which cut-offs and neighbours a small catalogue has instead of the usual ones."""
    why = f'as there are {model.num_items} items'
    if cutoffs != CUTOFFS:
        word = 'cut-offs' if len(cutoffs) > 1 else 'cut-off'
        say(f'{word} {" and ".join(map(str, cutoffs))}, {why}')
    neighbors = settings.neighbors or (NEIGHBORS if model.reads_graphs else 0)
    if neighbors >= model.num_items:
        say(f'at most {model.num_items - 1} neighbours of an item, not {neighbors}, {why}')


def _tuned(
    settings: Settings, given: Settings, train: HeteroData, val: HeteroData, folder: Path | None
) -> Settings:
    """Return settings with the penalty and the weight that are best on validation.

    If the folder has a run that was started with the same settings, its values are used.
    """
    if settings.model != DEFAULT_MODEL or settings.preset is not None:
        raise ValueError(
            f'{spelt("tune")} is an option of the model {DEFAULT_MODEL!r}; leave it out'
        )
    for name in TUNED:
        if getattr(given, name) is not None:
            raise ValueError(f'{spelt(name)} is set by {spelt("tune")}; leave one of them out')
    if folder is not None and (folder / CONFIG).is_file():
        old = RunFolder(folder).settings
        same = {name: getattr(old, name) for name in TUNED}
        if replace(settings, **same) == old:
            return old
    fixed = {'embedding_dim': settings.embedding_dim, 'content_weight': settings.content_weight}
    k = settings.neighbors or NEIGHBORS
    presets = {
        name: replace(
            preset,
            options={**preset.options, **fixed},
            transforms=(AddCoInteractionGraph(k),),
        )
        for name, preset in candidates(train).items()
    }
    cutoff = fitting_cutoffs(train['item'].num_nodes)[-1]
    choice = choose(train, val, presets, budget=settings.tune, k=cutoff)
    return replace(settings, **{name: choice.preset.options[name] for name in TUNED})


def _fit(
    run: RunFolder,
    model: Recommender,
    parts: tuple[HeteroData, HeteroData, HeteroData],
    device: str,
    cutoffs: tuple[int, ...],
    show_progress: bool,
) -> None:
    """Train the model with Lightning, and continue after the last checkpoint if there is one."""
    from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer
    from pyg_mmgef.training._epoch_history import EpochHistory

    settings, place = run.settings, checked_device(device)
    assert settings.lr is not None
    assert settings.epochs is not None
    assert settings.patience is not None
    assert settings.precision is not None
    module = RankingModule(model, build_loss(settings), lr=settings.lr, k=cutoffs)
    data = InteractionDataModule(*parts, seed=settings.seed, **loader_options(settings))
    trainer = make_trainer(
        run.path,
        max_epochs=settings.epochs,
        monitor=f'val_recall@{cutoffs[-1]}',
        patience=settings.patience,
        precision=settings.precision,
        accelerator=place.type,
        devices=1 if place.index is None else [place.index],
        enable_model_summary=False,
        enable_progress_bar=show_progress,
        callbacks=EpochHistory(),
    )
    last = run.last_checkpoint
    options: dict[str, Any] = {'ckpt_path': last if last.exists() else None, 'weights_only': True}
    try:
        with disk_errors_name(run.path):
            trainer.fit(module, data, **options)
    except SystemExit as error:  # Lightning turns Ctrl-C into it.
        raise KeyboardInterrupt from error
