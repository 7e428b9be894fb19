from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import BPRLoss, Recommender
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.schema import INTERACTS, supervision_edges
from pyg_mmgef.validate import check_positive

__all__ = ['Training', 'train_model']


class Training(NamedTuple):
    """The result of training a model."""

    recall: float
    """The best recall on validation."""
    epoch: int
    """The epoch of the best recall, counted from 1; 0 for a model without parameters."""


def train_model(
    model: Recommender,
    train: HeteroData,
    val: HeteroData,
    *,
    loss_fn: Module | None = None,
    lr: float = 5e-3,
    batch_size: int = 2048,
    epochs: int = 200,
    patience: int = 20,
    k: int = 20,
    seed: int = 0,
) -> Training:
    """Train a model until validation stops improving, and restore its best epoch.

    This is a plain loop with Adam over a :class:`~pyg_mmgef.loader.TripletLoader`; for Lightning,
    see :mod:`pyg_mmgef.training`. A model without parameters is only evaluated.

    Args:
        model: The model.
        train: The train graph, with the item graphs that the model needs.
        val: The validation part of the split.
        loss_fn: The loss; :obj:`None` means ``BPRLoss()``. (default: :obj:`None`)
        lr: Learning rate. (default: ``5e-3``)
        batch_size: Number of positives per batch. (default: ``2048``)
        epochs: Maximum number of epochs. (default: ``200``)
        patience: Epochs without improvement after which training stops. (default: ``20``)
        k: The cut-off of the recall. (default: ``20``)
        seed: Seed of the batches. (default: ``0``)

    Returns:
        The recall and the epoch.

    Raises:
        ValueError: If a number isn't positive, or the data doesn't fit the model.
    """
    for name, value in (('epochs', epochs), ('patience', patience), ('k', k)):
        check_positive(name, value)
    target, seen = supervision_edges(val), train[INTERACTS].edge_index

    def recall() -> float:
        model.eval()
        with torch.inference_mode():
            z_user, z_item = model(train)
        metrics = evaluate_ranking(z_user, z_item, target, exclude=seen, k=k, metrics='recall')
        return metrics[f'recall@{k}']

    if not model.has_parameters:
        return Training(recall(), 0)
    generator = torch.Generator().manual_seed(seed)
    loader = TripletLoader(train, batch_size, shuffle=True, generator=generator)
    loss_fn = BPRLoss() if loss_fn is None else loss_fn
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    best, best_state = Training(-1.0, 0), model.state_dict()
    for epoch in range(1, epochs + 1):
        model.start_epoch(train, epoch - 1)
        model.train()
        for users, items, negatives in loader:
            loss = model.loss(train, users, items, negatives, loss_fn)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = recall()
        if found > best.recall:
            best = Training(found, epoch)
            best_state = {key: _copied(value) for key, value in model.state_dict().items()}
        elif epoch - best.epoch >= patience:
            break
    model.load_state_dict(best_state)
    return best


def _copied(value: Tensor | dict) -> Tensor | dict:
    return value.clone() if isinstance(value, Tensor) else dict(value)  # A learned graph.
