from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from torch_geometric import seed_everything
from torch_geometric.data import HeteroData

from pyg_mmgef.cli.baselines import baselines
from pyg_mmgef.cli.console import draws_progress, out
from pyg_mmgef.cli.dataset_folder import DatasetFolder
from pyg_mmgef.cli.devices import checked_device
from pyg_mmgef.cli.losses import build_loss, check_negatives, loader_options
from pyg_mmgef.cli.models import NEIGHBORS, build_model, complete
from pyg_mmgef.cli.plots import save_curves
from pyg_mmgef.cli.run_folder import CONFIG, CUTOFFS, RunFolder, fitting_cutoffs
from pyg_mmgef.cli.settings import DEFAULT_MODEL, Settings, flag
from pyg_mmgef.cli.splits import split_data
from pyg_mmgef.nn import Recommender
from pyg_mmgef.runs import candidates, choose
from pyg_mmgef.transforms import AddCoInteractionGraph

__all__ = ['train_run']

TUNED = ('l2', 'unobserved_weight')
TUNE_SECONDS = 60.0


def train_run(
    dataset: DatasetFolder, output: Path, settings: Settings, device: str = 'cpu'
) -> RunFolder:
    """Train and evaluate a model, or continue a run that was interrupted.

    A model without parameters is only evaluated.

    Args:
        dataset: The prepared dataset.
        output: The folder of the run.
        settings: The options of the command.
        device: The device to train on; it may change when a run is continued.
            (default: ``'cpu'``)

    Raises:
        KeyboardInterrupt: After Ctrl-C; the last finished epoch is on disk.
        ValueError: If the folder holds another run, the settings don't fit the data, or the device
            isn't available.
    """
    checked_device(device)
    encoders = [about['encoder'] for about in dataset.about['modalities'].values()]
    settings, given = complete(settings, dataset.modalities, encoders), settings
    train, val, test = split_data(settings, dataset.data())
    is_open = settings.model == DEFAULT_MODEL and all(getattr(given, x) is None for x in TUNED)
    if given.tune is None and is_open:
        settings = replace(settings, tune=TUNE_SECONDS)
    if settings.tune:
        settings = _tuned(settings, given, train, val, output)
    seed_everything(settings.seed)
    train, model = build_model(settings, train)
    if model.has_parameters:
        check_negatives(settings, model, train)
    run = RunFolder.start(output, dataset, settings)
    if run.metrics is not None:
        return run
    cutoffs = fitting_cutoffs(model.num_items)
    _say_what_is_smaller(settings, model, cutoffs)
    if model.has_parameters:
        # A copy is trained, so that the best epoch is loaded into a model with empty caches.
        _fit(run, deepcopy(model), (train, val, test), device, cutoffs)
    loaded = run.load_with(dataset, model, train, val, test)
    loaded.scale_cold_items()
    results = {
        f'{part}_{name}': value
        for part in ('val', 'test')
        for name, value in loaded.evaluate(part, cutoffs).items()
    }
    history = run.history()
    best = max(history, key=lambda row: row[f'val_recall@{cutoffs[-1]}'], default={'epoch': 0})
    if history:
        save_curves(output / 'curves.png', history)
    run.finish(
        {
            'best_epoch': int(best['epoch']),
            'epochs': len(history),
            'cold_scale': model.cold_scale,
            **results,
            'baselines': baselines(train, val, test, cutoffs),
        }
    )
    return run


def _say_what_is_smaller(settings: Settings, model: Recommender, cutoffs: tuple[int, ...]) -> None:
    """Print which cut-offs and neighbours a small catalogue has instead of the usual ones."""
    why = f'as there are {model.num_items} items'
    if cutoffs != CUTOFFS:
        word = 'cut-offs' if len(cutoffs) > 1 else 'cut-off'
        out.print(f'{word} {" and ".join(map(str, cutoffs))}, {why}', highlight=False)
    neighbors = settings.neighbors or (NEIGHBORS if model.reads_graphs else 0)
    if neighbors >= model.num_items:
        most = model.num_items - 1
        out.print(f'at most {most} neighbours of an item, not {neighbors}, {why}', highlight=False)


def _tuned(
    settings: Settings, given: Settings, train: HeteroData, val: HeteroData, output: Path
) -> Settings:
    """Return settings with the penalty and the weight that are best on validation.

    If the folder has a run that was started with the same settings, its values are used.
    """
    if settings.model != DEFAULT_MODEL or settings.preset is not None:
        raise ValueError(f'--tune is an option of the model {DEFAULT_MODEL!r}; leave it out')
    for name in TUNED:
        if getattr(given, name) is not None:
            raise ValueError(f'{flag(name)} is set by --tune; leave one of them out')
    if (output / CONFIG).is_file():
        old = RunFolder(output).settings
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
) -> None:
    """Train the model with Lightning, and continue after the last checkpoint if there is one."""
    from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer

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
        enable_progress_bar=draws_progress(),
    )
    last = run.last_checkpoint
    try:
        trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as error:  # Lightning turns Ctrl-C into it.
        raise KeyboardInterrupt from error
