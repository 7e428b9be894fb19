from types import SimpleNamespace
from typing import Any

from pyg_mmgef.report._training import curve, training


def test_a_curve_by_hand() -> None:
    drawn = curve('Loss', [1, 2, 3], [4.0, 0.0, 2.0], best=1)
    left, top, right, bottom = drawn['frame']
    points = [tuple(map(float, point.split(','))) for point in drawn['points'].split()]
    assert points == [(left, top), ((left + right) / 2, bottom), (right, (top + bottom) / 2)]
    assert drawn['mark'] == ((left + right) / 2, bottom, 'best: epoch 2, 0')
    assert [text for _, text in drawn['x_ticks']] == ['1', '2', '3']
    assert drawn['y_ticks'][0] == (bottom, '0')
    assert drawn['y_ticks'][-1] == (top, '4')


def test_a_flat_curve_and_one_epoch() -> None:
    drawn = curve('Loss', [1], [0.5], best=0)
    (point,) = drawn['points'].split()
    x, y = map(float, point.split(','))
    left, top, _, bottom = drawn['frame']
    assert x == left
    assert top <= y <= bottom


def evidence(history: list[dict[str, float]]) -> Any:
    return SimpleNamespace(run=SimpleNamespace(history=history), k=20)


def test_the_best_epoch_is_marked() -> None:
    history = [
        {'epoch': epoch, 'train_loss': 1 / (1 + epoch), 'val_recall@20': recall}
        for epoch, recall in enumerate((0.1, 0.4, 0.3))
    ]
    shown: Any = training(evidence(history))
    assert (shown['best'], shown['epochs']) == (2, 3)
    assert shown['curves'][0]['mark'][2] == 'best: epoch 2, 0.4'
    assert shown['curves'][1]['mark'][2] == 'best: epoch 2, 0.5'


def test_a_model_that_is_not_trained_has_no_curves() -> None:
    assert training(evidence([])) is None
