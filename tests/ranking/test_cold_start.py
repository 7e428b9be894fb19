from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_mmgef.ranking import choose_cold_scale, evaluate_cold_start, evaluate_ranking

USERS, ITEMS, COLD = 200, 60, 12
CHANNELS = 6


def shop() -> dict[str, Tensor]:
    """Users and items of one space; the last items are cold, and shorter than the others."""
    generator = torch.Generator().manual_seed(0)
    z_user = torch.randn(USERS, CHANNELS, generator=generator)
    z_item = torch.randn(ITEMS, CHANNELS, generator=generator)
    score = z_user @ z_item.t() + torch.randn(USERS, ITEMS, generator=generator)
    z_item[-COLD:] *= 0.3
    best = score.topk(12).indices
    pairs = torch.stack([torch.arange(USERS).repeat_interleave(12), best.flatten()])
    is_cold = pairs[1] >= ITEMS - COLD
    warm = pairs[:, ~is_cold]
    return {
        'z_user': z_user,
        'z_item': z_item,
        'train': warm[:, ::2],
        'held_out': warm[:, 1::2],
        'cold': pairs[:, is_cold],
        'is_warm': torch.arange(ITEMS) < ITEMS - COLD,
    }


def test_five_rankings() -> None:
    case = shop()
    z = case['z_user'], case['z_item']
    out = evaluate_cold_start(
        *z,
        case['held_out'],
        case['cold'],
        torch.arange(ITEMS - COLD, ITEMS),
        exclude=case['train'],
        k=5,
    )
    cold, warm = torch.arange(ITEMS - COLD, ITEMS), torch.arange(ITEMS - COLD)
    both = torch.cat([case['held_out'], case['cold']], dim=1)
    options: dict[str, Any] = {'exclude': case['train'], 'k': 5}
    expected = {
        'cold among cold': evaluate_ranking(*z, case['cold'], candidates=cold, **options),
        'warm among warm': evaluate_ranking(*z, case['held_out'], candidates=warm, **options),
        'warm among all': evaluate_ranking(*z, case['held_out'], **options),
        'cold among all': evaluate_ranking(*z, case['cold'], **options),
        'overall': evaluate_ranking(*z, both, **options),
    }
    mean = out.pop('harmonic mean')
    assert out == expected
    a, b = out['warm among all']['recall@5'], out['cold among all']['recall@5']
    assert mean['recall@5'] == pytest.approx(2 / (1 / a + 1 / b))


def test_no_hit_has_a_harmonic_mean_of_zero() -> None:
    z = torch.tensor([[1.0]]), torch.tensor([[3.0], [2.0], [1.0]])
    target = torch.tensor([[0], [1]]), torch.tensor([[0], [2]])
    out = evaluate_cold_start(*z, *target, torch.tensor([2]), k=1)
    assert out['harmonic mean']['recall@1'] == 0


def test_targets_of_the_other_kind() -> None:
    case = shop()
    z = case['z_user'], case['z_item']
    cold = torch.arange(ITEMS - COLD, ITEMS)
    with pytest.raises(ValueError, match="'warm_target' holds 1 interactions with cold items"):
        evaluate_cold_start(*z, torch.tensor([[0], [ITEMS - 1]]), case['cold'], cold)
    with pytest.raises(ValueError, match="'cold_target' holds 1 interactions with other items"):
        evaluate_cold_start(*z, case['held_out'], torch.tensor([[0], [0]]), cold)


@pytest.mark.parametrize('max_loss', [0.0, 0.03, 0.2])
def test_the_scale_is_the_largest_that_costs_no_more(max_loss: float) -> None:
    case = shop()
    is_warm = case['is_warm'][:, None]

    def recall(scale: float) -> float:
        z_item = torch.where(is_warm, case['z_item'], scale * case['z_item'])
        return evaluate_ranking(
            case['z_user'], z_item, case['held_out'], exclude=case['train'], k=10
        )['recall@10']

    scale = choose_cold_scale(
        case['z_user'],
        case['z_item'],
        case['held_out'],
        case['is_warm'],
        exclude=case['train'],
        max_loss=max_loss,
        k=10,
    )
    assert recall(scale) >= (1 - max_loss) * recall(0.0)
    assert recall(1.01 * scale) < (1 - max_loss) * recall(0.0)


def test_without_cold_items_the_scale_is_one() -> None:
    case = shop()
    every = torch.ones(ITEMS, dtype=torch.bool)
    z = case['z_user'], case['z_item']
    assert choose_cold_scale(*z, case['held_out'], every, exclude=case['train']) == 1.0


def test_interactions_with_cold_items_are_not_read() -> None:
    case = shop()
    z = case['z_user'], case['z_item']
    options: dict[str, Any] = {'exclude': case['train'], 'k': 10}
    warm = choose_cold_scale(*z, case['held_out'], case['is_warm'], **options)
    both = torch.cat([case['cold'], case['held_out']], dim=1)
    assert choose_cold_scale(*z, both, case['is_warm'], **options) == warm != 1.0


def test_where_nothing_speaks_for_another_scale_it_is_one() -> None:
    case = shop()
    z = case['z_user'], case['z_item']
    assert choose_cold_scale(*z, case['cold'], case['is_warm']) == 1.0
    sparse = case['z_user'].to_sparse_csr(), case['z_item'].to_sparse_csr()
    assert choose_cold_scale(*sparse, case['held_out'], case['is_warm']) == 1.0


def test_bad_numbers() -> None:
    case = shop()
    z = case['z_user'], case['z_item']
    with pytest.raises(ValueError, match="'max_loss' must lie in"):
        choose_cold_scale(*z, case['held_out'], case['is_warm'], max_loss=1.0)
    with pytest.raises(ValueError, match="'k' must be a positive integer"):
        choose_cold_scale(*z, case['held_out'], case['is_warm'], k=0)
    with pytest.raises(ValueError, match="'target'"):
        choose_cold_scale(*z, torch.tensor([[0], [ITEMS]]), case['is_warm'])
