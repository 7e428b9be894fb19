from pathlib import Path

from torch_geometric import seed_everything

from pyg_mmgef.cli.dataset_folder import DatasetFolder
from pyg_mmgef.cli.devices import checked_device
from pyg_mmgef.cli.plots import save_curves
from pyg_mmgef.cli.run_folder import RunFolder
from pyg_mmgef.cli.settings import Settings

__all__ = ['train']


def train(
    dataset: DatasetFolder, output: Path, settings: Settings, device: str = 'cpu'
) -> RunFolder:
    """Train a model, or go on with a run that was interrupted.

    Args:
        dataset: The prepared dataset.
        output: The folder of the run.
        settings: What to train.
        device: Where to train; an interrupted run may go on elsewhere. (default: ``'cpu'``)

    Raises:
        KeyboardInterrupt: If the user has stopped it; the last finished epoch is on disk.
        ValueError: If the folder holds another run, the settings don't fit the data, or there is no
            such device.
    """
    from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer

    place = checked_device(device)
    parts = settings.split_data(dataset.data())
    run = RunFolder.start(output, dataset, settings)
    if run.metrics is not None:
        return run
    seed_everything(settings.seed)
    module = RankingModule(
        settings.build_model(parts[0]), settings.build_loss(), lr=settings.lr, k=(10, 20)
    )
    shop = InteractionDataModule(
        *parts, batch_size=settings.batch_size, seed=settings.seed, **settings.loader_options()
    )
    trainer = make_trainer(
        output,
        max_epochs=settings.epochs,
        patience=settings.patience,
        precision=settings.precision,
        accelerator=place.type,
        devices=1 if place.index is None else [place.index],
        enable_model_summary=False,
    )
    last = run.last_checkpoint
    try:
        trainer.fit(module, shop, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as error:  # What Lightning makes of Ctrl-C.
        raise KeyboardInterrupt from error
    loaded = run.load_with(dataset, *parts)
    results: dict[str, float] = {}
    for part in ('val', 'test'):
        metrics = loaded.evaluate(part, (10, 20))
        results |= {f'{part}_{name}': value for name, value in metrics.items()}
    history = run.history()
    best_epoch = max(history, key=lambda row: row['val_recall@20'])
    run.finish({'best_epoch': int(best_epoch['epoch']), 'epochs': len(history), **results})
    save_curves(output / 'curves.png', history)
    return run
