from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import BPRLoss, ItemKNN, LightGCN
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.runs import train_model
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.transforms import SplitInteractions
from tests.transforms.shops import random_shop

TRAIN, VAL, _ = SplitInteractions(seed=0)(random_shop())


def recall_of(model: LightGCN | ItemKNN) -> float:
    with torch.no_grad():
        z_user, z_item = model.eval()(TRAIN)
    target, exclude = VAL[INTERACTS].edge_label_index, TRAIN[INTERACTS].edge_index
    return evaluate_ranking(z_user, z_item, target, exclude=exclude, k=5, metrics='recall')[
        'recall@5'
    ]


def light_gcn() -> LightGCN:
    torch.manual_seed(0)
    return LightGCN.from_data(TRAIN, embedding_dim=8)


def test_the_model_is_left_as_in_its_best_epoch() -> None:
    model = light_gcn()
    found = train_model(model, TRAIN, VAL, epochs=12, patience=12, k=5, lr=0.05)
    assert recall_of(model) == found.recall
    again = light_gcn()
    assert train_model(again, TRAIN, VAL, epochs=found.epoch, patience=12, k=5, lr=0.05) == found
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_stops_where_nothing_improves(monkeypatch: pytest.MonkeyPatch) -> None:
    model = light_gcn()
    steps: list[int] = []
    start_epoch = model.start_epoch

    def spy(data: HeteroData, epoch: int) -> None:
        steps.append(epoch)
        start_epoch(data, epoch)

    monkeypatch.setattr(model, 'start_epoch', spy)
    found = train_model(model, TRAIN, VAL, epochs=50, patience=2, k=5, lr=1e-9)
    assert found.epoch == 1
    assert steps == [0, 1, 2]


def test_a_model_without_parameters_is_evaluated() -> None:
    model = ItemKNN.from_data(TRAIN, k=5)
    assert train_model(model, TRAIN, VAL, k=5) == (recall_of(model), 0)


def test_the_seed_and_the_loss_count() -> None:
    first = light_gcn()
    train_model(first, TRAIN, VAL, epochs=1, k=5, batch_size=16)
    others: tuple[dict[str, Any], ...] = (
        {'seed': 1},
        {'loss_fn': BPRLoss(0.5)},
        {'lr': 0.1},
    )
    for options in others:
        other = light_gcn()
        train_model(other, TRAIN, VAL, epochs=1, k=5, batch_size=16, **options)
        assert not torch.equal(other.user_embedding.weight, first.user_embedding.weight)


@pytest.mark.parametrize('name', ['epochs', 'patience', 'k', 'batch_size'])
def test_bad_numbers(name: str) -> None:
    numbers: dict[str, Any] = {'k': 5, name: 0}
    with pytest.raises(ValueError, match=f"'{name}' must be a positive integer"):
        train_model(light_gcn(), TRAIN, VAL, **numbers)
