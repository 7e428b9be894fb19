"""The inside of the sampler: what is chosen from lists, and how nodes are numbered."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from pyg_mmgef.loader import _choose, _numbering
from pyg_mmgef.loader._choose import choose_edges, first_above
from pyg_mmgef.loader._neighbor_lists import whole_weights
from pyg_mmgef.loader._numbering import Numbering

few_examples = settings(max_examples=50, deadline=None)
CHANCE = 1e-3  # Of a right sampler to fail; seeds are fixed, so it either does or doesn't.


@pytest.fixture(params=['extension', 'numpy'], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == 'numpy':
        monkeypatch.setattr(_choose, '_neighbors', None)
        monkeypatch.setattr(_numbering, '_neighbors', None)
    else:
        assert _choose._neighbors is not None, 'not built; is there a C++ compiler?'
    return request.param


def choices(
    size: int,
    num: int,
    *,
    weight: list[int] | None = None,
    replace: bool = False,
    lists: int = 20_000,
    seed: int = 0,
) -> Tensor:
    """What is chosen from equal lists, which differ only by their keys. Shape: [lists, num]."""
    begin = torch.full((lists,), 3)
    before = None
    if weight is not None:
        before = torch.tensor([0, 5, 5, 7, *weight]).cumsum(0)
    chosen = choose_edges(
        begin,
        begin + size,
        torch.full((lists,), num),
        key=torch.arange(lists),
        weight_before=before,
        replace=replace,
        seed=seed,
    )
    return chosen.view(lists, num) - 3


def assert_frequencies(found: Tensor, probabilities: list[float]) -> None:
    counts = torch.bincount(found, minlength=len(probabilities)).double()
    expected = torch.tensor(probabilities, dtype=torch.double) * counts.sum()
    assert chisquare(counts.numpy(), expected.numpy()).pvalue > CHANCE


@pytest.mark.parametrize(('size', 'num'), [(5, 1), (5, 2), (5, 4), (7, 3)])
def test_every_subset_is_equally_likely(size: int, num: int) -> None:
    chosen = choices(size, num)
    assert bool((chosen.diff(dim=1) > 0).all())  # Ascending, so none is repeated.
    subsets = {subset: i for i, subset in enumerate(itertools.combinations(range(size), num))}
    found = torch.tensor([subsets[tuple(row)] for row in chosen.tolist()])
    assert_frequencies(found, [1 / len(subsets)] * len(subsets))


def test_with_replacement_every_sequence_is_equally_likely() -> None:
    chosen = choices(3, 2, replace=True)
    assert_frequencies(chosen[:, 0] * 3 + chosen[:, 1], [1 / 9] * 9)
    assert choices(1, 4, replace=True, lists=2).tolist() == [[0] * 4] * 2


def test_with_replacement_in_proportion_to_weights() -> None:
    weight = [1, 2, 7]
    chosen = choices(3, 2, weight=weight, replace=True)
    pairs = [a * b / 100 for a, b in itertools.product(weight, weight)]
    assert_frequencies(chosen[:, 0] * 3 + chosen[:, 1], pairs)


@pytest.mark.parametrize('num', [1, 2, 3])
def test_one_after_the_other_in_proportion_to_weights(num: int) -> None:
    weight = [1, 2, 7, 10]
    subsets = list(itertools.combinations(range(4), num))
    probability = dict.fromkeys(subsets, 0.0)
    for order in itertools.permutations(range(4), num):
        chance, left = 1.0, sum(weight)
        for item in order:
            chance *= weight[item] / left
            left -= weight[item]
        probability[tuple(sorted(order))] += chance
    chosen = choices(4, num, weight=weight)
    found = torch.tensor([subsets.index(tuple(row)) for row in chosen.tolist()])
    assert_frequencies(found, list(probability.values()))


@pytest.mark.parametrize('replace', [False, True])
@pytest.mark.parametrize('weighted', [False, True])
def test_a_list_does_not_depend_on_others_or_on_threads(replace: bool, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    size = torch.randint(0, 30, (3000,), generator=generator)
    end = size.cumsum(0)
    num = size.clamp(max=1) * 5 if replace else size.clamp(max=5)
    weights = torch.randint(1, 9, (int(end[-1]),), generator=generator)
    before = torch.cat([end.new_zeros(1), weights.cumsum(0)]) if weighted else None

    def choose(rows: Tensor, seed: int = 7) -> Tensor:
        return choose_edges(
            (end - size)[rows],
            end[rows],
            num[rows],
            key=rows * 10**9,
            weight_before=before,
            replace=replace,
            seed=seed,
        )

    every = torch.arange(3000)
    expected = choose(every)
    parts = torch.cat([choose(part) for part in every.split(100)])
    assert torch.equal(expected, parts)
    torch.set_num_threads(4)
    assert torch.equal(choose(every), expected)
    torch.set_num_threads(1)
    assert not torch.equal(choose(every, 8), expected)
    assert torch.equal(choose(every, 2**64 - 1), choose(every, 2**64 - 1))


@few_examples
@given(
    sizes=st.lists(st.integers(0, 12), max_size=8),
    count=st.integers(0, 14),
    replace=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
def test_numpy_chooses_what_the_extension_chooses(
    sizes: list[int], count: int, replace: bool, weighted: bool, seed: int
) -> None:
    size = torch.tensor(sizes, dtype=torch.int64)
    end = size.cumsum(0)
    before = None
    if weighted:
        weights = torch.arange(1, int(size.sum()) + 1) ** 3
        before = torch.cat([end.new_zeros(1), weights.cumsum(0)])
    arguments: dict[str, Any] = {
        'key': torch.arange(len(sizes)) * 12345,
        'weight_before': before,
        'replace': replace,
        'seed': seed,
    }
    num = size.clamp(max=1) * count if replace else size.clamp(max=count)
    found = choose_edges(end - size, end, num, **arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_choose, '_neighbors', None)
        assert torch.equal(choose_edges(end - size, end, num, **arguments), found)
    owner = torch.arange(len(sizes)).repeat_interleave(num)
    assert bool(((end - size)[owner] <= found).all())
    assert bool((found < end[owner]).all())


@few_examples
@given(parts=st.lists(st.lists(st.integers(0, 40), max_size=60), max_size=5), wide=st.booleans())
def test_numbers_follow_the_first_appearance(parts: list[list[int]], wide: bool) -> None:
    numbering = Numbering()
    expected: dict[int, int] = {}
    for part in parts:
        keys = torch.tensor(part, dtype=torch.int64) * (10**16 if wide else 1)
        for key in keys.tolist():
            expected.setdefault(key, len(expected))
        assert numbering(keys).tolist() == [expected[key] for key in keys.tolist()]
        assert numbering.keys.tolist() == list(expected)
        assert len(numbering) == len(expected)


def test_many_numbers_at_once_and_in_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    keys = torch.randint(2**62, (50_000,), generator=generator)[
        torch.randint(50_000, (100_000,), generator=generator)
    ]
    one, many = Numbering(), Numbering()
    numbers = one(keys)
    assert torch.equal(torch.cat([many(part) for part in keys.split(777)]), numbers)
    assert torch.equal(one.keys[numbers], keys)
    assert torch.equal(one.keys, many.keys)
    assert one.keys.unique().numel() == len(one)


def test_the_first_above_a_limit() -> None:
    values = torch.tensor([1, 3, 3, 9, 0, 5])
    begin, end = torch.tensor([0, 0, 0, 4, 4, 6]), torch.tensor([4, 4, 4, 6, 6, 6])
    limit = torch.tensor([0, 3, 9, 0, 4, 1])
    assert first_above(values, begin, end, limit).tolist() == [0, 3, 4, 5, 5, 6]


def test_whole_weights_are_in_proportion_for_each_destination() -> None:
    weight = torch.tensor([0.5, 0.25, 1e-30, 1e20, 3e20], dtype=torch.float32)
    whole = whole_weights(weight, torch.tensor([1, 1, 1, 4, 4])).double()
    torch.testing.assert_close(whole / 2.0**40, torch.tensor([1, 0.5, 0, 1 / 3, 1]).double())
    assert int(whole.min()) == 1
    assert whole_weights(weight[:0], torch.tensor([], dtype=torch.long)).shape == (0,)
