"""The commands, their options and what they print; the work is in the other modules."""

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pyg_mmgef import __version__

__all__ = ['app', 'main']

app = typer.Typer(
    help="""Recommend items that have pictures and words.

    From tables and pictures to a trained recommender: [bold]prepare[/bold], [bold]train[/bold],
    [bold]report[/bold]. An interrupted command goes on where it was if it is given again.
    """,
    no_args_is_help=True,
    rich_markup_mode='rich',
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console()
err = Console(stderr=True)

Output = typer.Option('--output', '-o', help='Folder to write.', show_default=False)
Run = typer.Argument(help='Folder of a run, as "train" leaves it.', show_default=False)
MISTAKES = (ValueError, OSError, ImportError)
INTERRUPTED = 130
READ, ENCODE, MODEL, TRAINING = 'What to read', 'Encoders', 'Model', 'Training'


class Model(str, Enum):
    """Models to train."""

    mmgef = 'mmgef'
    lightgcn = 'lightgcn'


class Loss(str, Enum):
    """Losses to train with."""

    bpr = 'bpr'
    softmax = 'softmax'
    au = 'au'


class Split(str, Enum):
    """Ways to hold out interactions."""

    random = 'random'
    time = 'time'
    leave_last_out = 'leave_last_out'


class Part(str, Enum):
    """Parts to evaluate on."""

    val = 'val'
    test = 'test'


class Fusion(str, Enum):
    """Ways to fuse the modalities."""

    auto = 'auto'
    mean = 'mean'
    weighted = 'weighted'
    gated = 'gated'
    concat = 'concat'


class Attention(str, Enum):
    """What the item graphs are weighed by."""

    graph = 'graph'
    node = 'node'
    edge = 'edge'
    mean = 'mean'


@app.command()
def prepare(
    interactions: Annotated[
        Path,
        typer.Argument(
            help='Table of who took what: Parquet, CSV, TSV or JSON Lines.', show_default=False
        ),
    ],
    output: Annotated[Path, Output],
    items: Annotated[
        Path | None,
        typer.Option(help='Table of the items.', rich_help_panel=READ, show_default=False),
    ] = None,
    user: Annotated[
        str, typer.Option(help="Column of the users' ids.", rich_help_panel=READ)
    ] = 'user_id',
    item: Annotated[
        str, typer.Option(help="Column of the items' ids.", rich_help_panel=READ)
    ] = 'item_id',
    item_id: Annotated[
        str | None,
        typer.Option(
            help="Column of ids in --items, if it isn't called as in the interactions.",
            rich_help_panel=READ,
            show_default=False,
        ),
    ] = None,
    rating: Annotated[
        str | None,
        typer.Option(help='Column of ratings.', rich_help_panel=READ, show_default=False),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help='Column of times.', rich_help_panel=READ, show_default=False)
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of --items with words; repeat it to join several into an item's text.",
            rich_help_panel=READ,
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help='Column of --items with the names of picture files.',
            rich_help_panel=READ,
            show_default=False,
        ),
    ] = None,
    image_folder: Annotated[
        Path | None,
        typer.Option(
            help='Folder of pictures; without --image, files named as the item ids.',
            rich_help_panel=READ,
            show_default=False,
        ),
    ] = None,
    min_rating: Annotated[
        float | None,
        typer.Option(help='Least rating that counts.', rich_help_panel=READ, show_default=False),
    ] = None,
    k_core: Annotated[
        int,
        typer.Option(help='Least interactions of a user and an item.', rich_help_panel=READ, min=0),
    ] = 0,
    delimiter: Annotated[
        str | None,
        typer.Option(
            help='What separates columns, if the suffix of the file tells wrongly.',
            rich_help_panel=READ,
            show_default=False,
        ),
    ] = None,
    item_delimiter: Annotated[
        str | None,
        typer.Option(help='Likewise in --items.', rich_help_panel=READ, show_default=False),
    ] = None,
    image_encoder: Annotated[
        str,
        typer.Option(
            help="'small' (colours and shapes), 'open_clip:MODEL/PRETRAINED' or 'none'.",
            rich_help_panel=ENCODE,
        ),
    ] = 'small',
    text_encoder: Annotated[
        str,
        typer.Option(
            help="'small' (words), 'sentence:MODEL or folder', 'open_clip:MODEL/PRETRAINED' or "
            "'none'.",
            rich_help_panel=ENCODE,
        ),
    ] = 'small',
    batch_size: Annotated[
        int, typer.Option(help='Pictures or texts at a time.', rich_help_panel=ENCODE, min=1)
    ] = 64,
    device: Annotated[
        str, typer.Option(help="Where encoders run: 'cpu', 'cuda'.", rich_help_panel=ENCODE)
    ] = 'cpu',
    num_workers: Annotated[
        int, typer.Option(help='Threads that read pictures.', rich_help_panel=ENCODE, min=0)
    ] = 2,
) -> None:
    """Read tables and pictures, encode them, and write a dataset folder.

    Broken rows and pictures don't stop it; what became of them is listed. The small encoders need
    no download.

    Example: pyg-mmgef prepare orders.csv -o shop --items products.csv --text title --image photo
    """
    from pyg_mmgef.cli.prepare import prepare as run

    dataset = run(
        interactions,
        items,
        output,
        columns={
            'user': user,
            'item': item,
            'item_id': item_id,
            'rating': rating,
            'time': time,
            'text': tuple(text or ()),
            'image': image,
            'image_folder': image_folder,
            'min_rating': min_rating,
            'k_core': k_core,
            'delimiter': delimiter,
            'item_delimiter': item_delimiter,
        },
        image=image_encoder,
        text=text_encoder,
        encoder_options={
            'batch_size': batch_size,
            'device': device,
            'num_workers': num_workers,
        },
    )
    _show_dataset(dataset)


@app.command()
def train(
    dataset: Annotated[
        Path, typer.Argument(help='Folder that "prepare" has written.', show_default=False)
    ],
    output: Annotated[Path, Output],
    model: Annotated[Model, typer.Option(rich_help_panel=MODEL)] = Model.mmgef,
    modality: Annotated[
        list[str] | None,
        typer.Option(
            help='Features to use, such as image; repeat it for several.',
            rich_help_panel=MODEL,
            show_default='all',
        ),
    ] = None,
    fusion: Annotated[
        Fusion,
        typer.Option(
            help="'auto' is 'mean' where one encoder made all features, else 'concat'.",
            rich_help_panel=MODEL,
        ),
    ] = Fusion.auto,
    attention: Annotated[Attention, typer.Option(rich_help_panel=MODEL)] = Attention.graph,
    k: Annotated[int, typer.Option(help='Neighbours per item.', rich_help_panel=MODEL, min=1)] = 10,
    embedding_dim: Annotated[int, typer.Option(rich_help_panel=MODEL, min=1)] = 64,
    num_layers: Annotated[
        int, typer.Option(help='Layers of LightGCN.', rich_help_panel=MODEL, min=0)
    ] = 2,
    split: Annotated[
        Split, typer.Option(help='How to hold out 10 + 10 %.', rich_help_panel=TRAINING)
    ] = Split.random,
    loss: Annotated[Loss, typer.Option(rich_help_panel=TRAINING)] = Loss.bpr,
    lr: Annotated[float, typer.Option(help='Learning rate.', rich_help_panel=TRAINING)] = 5e-3,
    l2: Annotated[float, typer.Option(help='Of bpr.', rich_help_panel=TRAINING)] = 1e-3,
    temperature: Annotated[float, typer.Option(help='Of softmax.', rich_help_panel=TRAINING)] = 0.2,
    gamma: Annotated[float, typer.Option(help='Of au.', rich_help_panel=TRAINING)] = 1.0,
    num_negatives: Annotated[
        int, typer.Option(help='Of softmax, shared by a batch.', rich_help_panel=TRAINING, min=1)
    ] = 512,
    batch_size: Annotated[int, typer.Option(rich_help_panel=TRAINING, min=1)] = 2048,
    epochs: Annotated[
        int, typer.Option(help='Most epochs.', rich_help_panel=TRAINING, min=1)
    ] = 200,
    patience: Annotated[
        int,
        typer.Option(help='Epochs without improvement.', rich_help_panel=TRAINING, min=1),
    ] = 20,
    precision: Annotated[
        str, typer.Option(help="'32-true', 'bf16-mixed', ...", rich_help_panel=TRAINING)
    ] = '32-true',
    device: Annotated[
        str, typer.Option(help="Where to train: 'cpu', 'cuda'.", rich_help_panel=TRAINING)
    ] = 'cpu',
    seed: Annotated[int, typer.Option(rich_help_panel=TRAINING)] = 0,
) -> None:
    """Train a model, and rank the held-out interactions.

    The epoch that is best on validation is kept; test is read once, at the end.

    Example: pyg-mmgef train shop -o runs/first
    """
    from pyg_mmgef.cli.dataset_folder import DatasetFolder
    from pyg_mmgef.cli.settings import Settings
    from pyg_mmgef.cli.train import train as run

    prepared = DatasetFolder(dataset)
    modalities = tuple(modality or prepared.modalities)
    encoders = {about['encoder'] for about in prepared.about['modalities'].values()}
    if fusion is Fusion.auto:
        fusion = Fusion.mean if len(encoders) == 1 or len(modalities) == 1 else Fusion.concat
    finished = run(
        prepared,
        output,
        Settings(
            model=model.value,
            loss=loss.value,
            split=split.value,
            modalities=modalities if model is Model.mmgef else (),
            fusion=fusion.value,
            attention=attention.value,
            k=k,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            lr=lr,
            l2=l2,
            temperature=temperature,
            gamma=gamma,
            num_negatives=num_negatives,
            batch_size=batch_size,
            epochs=epochs,
            patience=patience,
            precision=precision,
            seed=seed,
        ),
        device,
    )
    _show_run(finished)


@app.command()
def evaluate(
    run: Annotated[Path, Run],
    part: Annotated[Part, typer.Option('--split', help='The part to rank.')] = Part.test,
    k: Annotated[
        list[int] | None, typer.Option(help='Cut-offs; repeat it.', show_default='10, 20')
    ] = None,
) -> None:
    """Rank the held-out interactions of a run again, at cut-offs of your choice."""
    from pyg_mmgef.cli.run_folder import RunFolder

    _show_metrics(RunFolder(run).load().evaluate(part.value, k or (10, 20)))


@app.command()
def recommend(
    run: Annotated[Path, Run],
    user: Annotated[
        list[str] | None,
        typer.Option(help='Your id of a user; repeat it.', show_default='all users'),
    ] = None,
    k: Annotated[int, typer.Option(help='Items per user.', min=1)] = 10,
    output: Annotated[
        Path | None,
        typer.Option(
            '--output',
            '-o',
            help='Table to write: .parquet, .csv or .jsonl.',
            show_default='the screen',
        ),
    ] = None,
) -> None:
    """Recommend new items to users, in your own ids."""
    from pyg_mmgef.cli import recommend as work
    from pyg_mmgef.cli.run_folder import RunFolder

    if output is not None:
        work.check_suffix(output)
    elif not user:
        raise ValueError('recommendations for all users need a file; give --output, or --user')
    loaded = RunFolder(run).load()
    users = work.find_rows(loaded.dataset.user_ids, user, 'user') if user else None
    columns = work.recommendations(loaded, users, k)
    if output is not None:
        work.write_table(output, columns)
        out.print(f'{len(columns["user"])} rows in {output}')
    else:
        _show_columns(columns, loaded)


@app.command()
def similar(
    run: Annotated[Path, Run],
    item: Annotated[str, typer.Argument(help='Your id of an item.', show_default=False)],
    k: Annotated[int, typer.Option(help='Number of items.', min=1)] = 10,
) -> None:
    """Show the items that a model has placed next to an item."""
    from pyg_mmgef.cli import recommend as work
    from pyg_mmgef.cli.run_folder import RunFolder

    loaded = RunFolder(run).load()
    row = int(work.find_rows(loaded.dataset.item_ids, [item], 'item'))
    _show_columns(work.similar_items(loaded, row, k), loaded)


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help='Folder of a dataset or a run.', show_default=False)],
) -> None:
    """Show what a folder of a dataset or a run holds."""
    from pyg_mmgef.cli.dataset_folder import DatasetFolder
    from pyg_mmgef.cli.run_folder import CONFIG, RunFolder

    if (path / CONFIG).is_file():
        _show_run(RunFolder(path))
    else:
        _show_dataset(DatasetFolder(path))


@app.command()
def report(
    run: Annotated[Path, Run],
    output: Annotated[
        Path | None,
        typer.Option(
            '--output', '-o', help='HTML file to write.', show_default='report.html in the run'
        ),
    ] = None,
    num_users: Annotated[int, typer.Option(help='Sample users to show.', min=0)] = 5,
    num_items: Annotated[int, typer.Option(help='Sample items to show.', min=0)] = 5,
) -> None:
    """Write one HTML page about a run: metrics, curves, graphs, and what it recommends and why."""
    from pyg_mmgef.cli.report import write_report
    from pyg_mmgef.cli.run_folder import RunFolder

    path = output or run / 'report.html'
    write_report(RunFolder(run), path, num_users, num_items)
    out.print(f'Wrote {path}')


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow='fold')
    return table


def _show_dataset(dataset: Any) -> None:
    out.print(f'[bold]{dataset.path}[/bold]')
    table = _table('', '')
    for words, count in dataset.about['report'].items():
        if count:
            table.add_row(words, f'{count:,}')
    for name, about in dataset.about['modalities'].items():
        table.add_row(f'items with {name}', f'{about["items"]:,} ({about["channels"]} channels)')
    out.print(table)
    for name, about in dataset.about['modalities'].items():
        for bad in about['unusable'][:10]:
            out.print(f'{name} of item {bad["item"]}: {bad["reason"]} ({bad["path"]})', style='dim')
        if len(about['unusable']) > 10:
            out.print(f'... and {len(about["unusable"]) - 10} more in dataset.json', style='dim')


def _show_run(run: Any) -> None:
    out.print(f'[bold]{run.path}[/bold]')
    metrics = run.metrics
    if metrics is None:
        epochs = len(run.history())
        out.print(f'not finished: {epochs} epochs; give the same "train" command to go on')
        return
    out.print(f'best epoch {metrics["best_epoch"]} of {metrics["epochs"]}')
    table = _table('', 'validation', 'test')
    for key, value in metrics.items():
        if key.startswith('test_'):
            name = key.removeprefix('test_')
            table.add_row(name, f'{metrics["val_" + name]:.4f}', f'{value:.4f}')
    out.print(table)


def _show_metrics(metrics: dict[str, float]) -> None:
    table = _table('', '')
    for name, value in metrics.items():
        table.add_row(name, f'{value:.4f}')
    out.print(table)


def _show_columns(columns: dict[str, list[Any]], loaded: Any) -> None:
    texts = [item['text'] for item in loaded.dataset.items()]
    rows = loaded.dataset.item_ids.to_rows(columns['item']).tolist()
    table = _table(*columns, 'text')
    for row, *values in zip(rows, *columns.values(), strict=True):
        cells = [f'{value:.3f}' if isinstance(value, float) else str(value) for value in values]
        text = texts[row] or ''
        table.add_row(*cells, text if len(text) <= 60 else text[:57] + '...')
    out.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one line, and Ctrl-C leaves what is finished.

    Args:
        arguments: What is typed after the command's name, :obj:`None` for that of this process.
            (default: :obj:`None`)

    Raises:
        SystemExit: With 1 after a user's mistake, 2 after a wrong option, 130 after Ctrl-C.
    """
    _quiet()
    try:
        # Typer makes Ctrl-C a returned code, its earlier versions an Abort.
        if app(arguments, standalone_mode=False) == INTERRUPTED:
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        err.print('Interrupted. Give the same command again to go on from here.')
        sys.exit(INTERRUPTED)
    except Exception as error:
        show = getattr(error, 'show', None)
        if show is not None:  # The library's own errors about options and arguments.
            show()
            sys.exit(2)
        if os.environ.get('PYG_MMGEF_DEBUG') or not isinstance(error, MISTAKES):
            raise
        err.print(f'Error: {error}', style='red', markup=False, highlight=False)
        sys.exit(1)


def _quiet() -> None:
    """Leave out what Lightning and torch tell their developers; our own warnings stay."""
    for name in ('lightning.pytorch', 'lightning.fabric'):
        logging.getLogger(name).setLevel(logging.WARNING)
    for module in (r'lightning\.', r'torch\.'):
        warnings.filterwarnings('ignore', module=module)
    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    err.print(f'Warning: {message}', style='yellow', markup=False, highlight=False)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option('--version', help='Show the version and exit.')] = False,
) -> None:
    """Hold what belongs to no command."""
    if version:
        out.print(f'pyg-mmgef {__version__}')
        raise typer.Exit
