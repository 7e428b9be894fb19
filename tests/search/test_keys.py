import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_mmgef.search._keys import from_keys, to_keys

scores = st.floats(width=32, allow_nan=False)
entries = st.lists(st.tuples(scores, st.integers(0, 2**31 - 1)), min_size=1, max_size=20)


@given(entries)
def test_keys_rank_as_scores_and_then_as_lower_ids(pairs: list[tuple[float, int]]) -> None:
    score = torch.tensor([score for score, _ in pairs], dtype=torch.float32) + 0.0
    ids = torch.tensor([item for _, item in pairs])
    key = to_keys(score, ids)
    by_key = [pairs[place] for place in key.sort(descending=True, stable=True).indices]
    assert by_key == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
    found, found_ids = from_keys(key)
    assert torch.equal(found, score)
    assert torch.equal(found_ids, ids)
