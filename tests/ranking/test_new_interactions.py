import pytest
import torch
from torch import Tensor

from pyg_mmgef.ranking import evaluate_ranking, new_interactions


def random_pairs(num_edges: int, seed: int) -> Tensor:
    return torch.randint(9, (2, num_edges), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('dtype', [torch.long, torch.int])
def test_equals_a_set_difference_in_order(dtype: torch.dtype) -> None:
    target, exclude = random_pairs(60, 0).to(dtype), random_pairs(40, 1)
    known = set(map(tuple, exclude.t().tolist()))
    expected = [pair for pair in target.t().tolist() if tuple(pair) not in known]
    assert 0 < len(expected) < 60
    found = new_interactions(target, exclude)
    assert found.dtype == dtype
    assert found.t().tolist() == expected


def test_what_is_left_can_be_evaluated() -> None:
    z = torch.randn(9, 4, generator=torch.Generator().manual_seed(2))
    target, exclude = random_pairs(60, 0), random_pairs(40, 1)
    with pytest.raises(ValueError, match=r'share .* pass new_interactions\(target, exclude\)'):
        evaluate_ranking(z, z, target, exclude=exclude, k=3)
    metrics = evaluate_ranking(z, z, new_interactions(target, exclude), exclude=exclude, k=3)
    assert 0 < metrics['recall@3'] < 1


def test_nothing_to_leave_out_or_nothing_at_all() -> None:
    pairs, none = random_pairs(5, 0), torch.empty(2, 0, dtype=torch.long)
    assert torch.equal(new_interactions(pairs, none), pairs)
    assert new_interactions(none, pairs).shape == (2, 0)
    assert new_interactions(none, none).shape == (2, 0)
    assert new_interactions(pairs, pairs).shape == (2, 0)


def test_mistakes() -> None:
    pairs = random_pairs(5, 0)
    with pytest.raises(ValueError, match=r"'target' must hold integer ids and have shape \[2, E\]"):
        new_interactions(pairs.t(), pairs)
    with pytest.raises(ValueError, match=r"'exclude' must hold integer .*torch.float32"):
        new_interactions(pairs, pairs.float())
