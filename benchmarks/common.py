"""What the benchmarks share: a training loop with early stopping, and how results are written."""

import argparse
import contextlib
import copy
import json
import os
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from torch_geometric.data import HeteroData

from pyg_mmgef.files import write_atomically
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import MMGEF, BPRLoss, Recommender
from pyg_mmgef.ranking import evaluate_ranking

INTERACTS = ('user', 'interacts', 'item')
EVAL_EVERY = 5
"""Epochs between two looks at validation."""
PATIENCE = 6
"""Looks without an improvement before training stops."""
PACKAGES = (
    *('torch', 'torch-geometric', 'torch-sparse', 'lightning', 'open-clip-torch', 'scipy'),
    *('scikit-learn', 'pandas', 'pyarrow', 'faiss-cpu', 'pynndescent', 'hnswlib', 'usearch'),
    *('implicit', 'fastapi', 'uvicorn'),
)
"""What is measured, or measured against."""


def parser(description: str, *, page: bool = False) -> argparse.ArgumentParser:
    """Return a parser with the flags that every benchmark has, and those that make a page."""
    out = argparse.ArgumentParser(description=description.splitlines()[0])
    out.add_argument(
        '--output', type=Path, default=Path('results'), help='folder for JSON and plot'
    )
    out.add_argument('--threads', type=int, default=torch.get_num_threads())
    out.add_argument('--quick', action='store_true', help='a short run that only shows it works')
    if page:
        out.add_argument('--page', type=Path, help='make the page in this folder, measure nothing')
    return out


def data_root(name: str) -> Path:
    """Return the folder of a data set below the one that PYG_MMGEF_DATA names."""
    root = os.environ.get('PYG_MMGEF_DATA')
    if root is None:
        raise SystemExit('set PYG_MMGEF_DATA to the folder that holds the data sets')
    path = Path(root) / name
    if not path.is_dir():
        raise SystemExit(f'PYG_MMGEF_DATA holds no folder {name!r}')
    return path


def write_json(path: Path, results: Any) -> None:
    """Write results with the machine and versions they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {
        'date': time.strftime('%Y-%m-%d'),
        'processor': _processor(),
        'threads': torch.get_num_threads(),
        'python': platform.python_version(),
        **_versions(),
    }
    content = json.dumps({'machine': machine, 'results': results}, indent=2)
    write_atomically(path, content.encode())
    print(f'Wrote {path}')


def read_json(path: Path) -> dict[str, Any]:
    """Return results with the machine, as they were written."""
    content: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
    return content


def _versions() -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    out = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            out[name] = version(name)
    return out


def _processor() -> str:
    """Return what the processor calls itself, where the system tells."""
    path = Path('/proc/cpuinfo')
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def pyplot() -> Any:
    """Return matplotlib's pyplot, drawing into files."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    return plt


def save_plot(figure: Any, path: Path) -> None:
    """Write a figure."""
    figure.savefig(path, dpi=150)
    print(f'Wrote {path}')


@dataclass
class Fit:
    """The outcome of a training run, at the epoch that was best on validation."""

    z_user: Tensor
    z_item: Tensor
    epoch: int
    recall: float
    alpha: list[float]
    seconds_per_epoch: float
    curve: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Of training, without evaluation, at each point of the curve."""
    state: dict[str, Any] = field(default_factory=dict)
    """The state of the model."""


def plot_curves(path: Path, results: list[dict[str, Any]], label: str) -> None:
    """Draw how validation went, a curve for each row.

    Args:
        path: The file.
        results: The rows, each with its ``'curve'``.
        label: What a curve is called, with the keys of a row in braces.
    """
    figure, axis = pyplot().subplots(figsize=(7, 4), layout='constrained')
    for row in results:
        epochs = [EVAL_EVERY * (step + 1) for step in range(len(row['curve']))]
        axis.plot(epochs, row['curve'], label=label.format(**row))
    axis.set(xlabel='epoch', ylabel='validation Recall@20', title='Amazon Baby')
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=7)
    save_plot(figure, path)


def plot_step_times(path: Path, results: dict[str, dict[str, float]]) -> None:
    """Draw a bar for the ``'ms'`` of each row."""
    figure, axis = pyplot().subplots(figsize=(7, 3), layout='constrained')
    axis.barh(list(results), [row['ms'] for row in results.values()])
    axis.set(xlabel='ms per training step, less is better')
    axis.invert_yaxis()
    save_plot(figure, path)


def train_epoch(
    model: Recommender,
    train: HeteroData,
    loader: TripletLoader,
    loss_fn: Module,
    optimizer: Optimizer,
) -> None:
    """Take a step for each batch, whatever its number of negatives."""
    for users, items, negatives in loader:
        loss = model.loss(train, users, items, negatives, loss_fn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def fit(
    model: Recommender,
    train: HeteroData,
    val_target: Tensor,
    *,
    lr: float = 1e-3,
    l2: float = 1e-4,
    loss_fn: Module | None = None,
    num_negatives: int = 1,
    shared_negatives: bool = False,
    epochs: int = 300,
    eval_every: int = EVAL_EVERY,
    patience: int = PATIENCE,
    batch_size: int = 2048,
    seed: int = 0,
    seen: Tensor | None = None,
    goal: float = float('inf'),
    max_seconds: float = float('inf'),
) -> Fit:
    """Train until Recall@20 on validation has not improved for some evaluations, or is the goal.

    What users have seen isn't ranked for them: the train interactions, or what is given as seen.
    """
    seen = train[INTERACTS].edge_index if seen is None else seen
    loader = TripletLoader(
        train,
        batch_size,
        shuffle=True,
        num_negatives=num_negatives,
        shared_negatives=shared_negatives,
        generator=torch.Generator().manual_seed(seed),
    )
    loss_fn = BPRLoss(l2) if loss_fn is None else loss_fn
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    best: Fit | None = None
    curve: list[float] = []
    times: list[float] = []
    seconds = 0.0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        model.start_epoch(train, epoch - 1)
        model.train()
        train_epoch(model, train, loader, loss_fn, optimizer)
        seconds += time.perf_counter() - start
        over = epoch == epochs or seconds > max_seconds
        if epoch % eval_every and not over:
            continue
        model.eval()
        with torch.inference_mode():
            z_user, z_item = model(train)
            recall = evaluate_ranking(z_user, z_item, val_target, exclude=seen, k=20)['recall@20']
        curve.append(recall)
        times.append(seconds)
        if best is None or recall > best.recall:
            alpha = []
            if isinstance(model, MMGEF) and model.item_encoder.attention is not None:
                alpha = model.alpha(train).mean(dim=0).tolist()
            best = Fit(z_user, z_item, epoch, recall, alpha, 0.0)
            best.state = copy.deepcopy(model.state_dict())
        if over or recall >= goal or epoch - best.epoch >= patience * eval_every:
            break
    assert best is not None
    best.seconds_per_epoch = seconds / epoch
    best.curve, best.seconds = curve, times
    return best
