"""All users in one pass, written to a file: the same items as recommend finds for each."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from pyg_mmgef.ranking import bulk, recommend, recommend_to_parquet, scoring

USERS, ITEMS = 300, 400


def case() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z_user, z_item = (torch.randn(n, 8, generator=generator) for n in (USERS, ITEMS))
    exclude = torch.stack([torch.randint(n, (3000,), generator=generator) for n in (USERS, ITEMS)])
    return z_user, z_item, exclude


def lists_of(path: Path) -> dict[Any, list[Any]]:
    out: dict[Any, list[Any]] = {}
    for row in pq.read_table(path).to_pylist():
        out.setdefault(row['user'], []).append(row['item'])
        assert row['rank'] == len(out[row['user']])
    return out


@pytest.mark.parametrize('batch_size', [1, 7, 128, USERS, 10_000])
def test_it_has_the_items_of_recommend(tmp_path: Path, batch_size: int) -> None:
    z_user, z_item, exclude = case()
    path = tmp_path / 'new' / 'all.parquet'
    count = recommend_to_parquet(z_user, z_item, path, k=5, exclude=exclude, batch_size=batch_size)
    scores, items = recommend(z_user, z_item, k=5, exclude=exclude)
    assert count == USERS * 5
    table = pq.read_table(path)
    assert table.schema.names == ['user', 'rank', 'item', 'score']
    assert table['user'].to_pylist() == torch.arange(USERS).repeat_interleave(5).tolist()
    assert table['item'].to_pylist() == items.view(-1).tolist()
    assert np.array_equal(table['score'].to_numpy(), scores.view(-1).numpy())
    assert pq.read_metadata(path).num_row_groups == -(-USERS // batch_size)


def test_users_without_enough_items_have_fewer_rows(tmp_path: Path) -> None:
    z_user, z_item = torch.eye(3), torch.eye(4, 3)
    exclude = torch.tensor([[0, 0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 0, 1, 2]])
    count = recommend_to_parquet(z_user, z_item, tmp_path / 'x.parquet', k=9, exclude=exclude)
    assert lists_of(tmp_path / 'x.parquet') == {1: [3], 2: [2, 0, 1, 3]}
    assert count == 5


def test_ids_of_users_and_items(tmp_path: Path) -> None:
    z_user, z_item, _ = case()
    names, numbers = [f'u{u}' for u in range(USERS)], np.arange(ITEMS) + 1000
    users = torch.tensor([7, 3])
    recommend_to_parquet(
        z_user, z_item, tmp_path / 'x.parquet', k=2, users=users, user_ids=names, item_ids=numbers
    )
    items = recommend(z_user, z_item, users, k=2).items + 1000
    assert lists_of(tmp_path / 'x.parquet') == {'u7': items[0].tolist(), 'u3': items[1].tolist()}


def test_memory_maps_and_sparse_embeddings(tmp_path: Path) -> None:
    z_user, z_item, exclude = case()
    for name, z in (('user', z_user), ('item', z_item)):
        np.save(tmp_path / f'{name}.npy', z.numpy())
    user, item = (np.load(tmp_path / f'{name}.npy', mmap_mode='r') for name in ('user', 'item'))
    paths = [tmp_path / f'{name}.parquet' for name in 'abc']
    recommend_to_parquet(z_user, z_item, paths[0], k=5, exclude=exclude)
    recommend_to_parquet(user, item, paths[1], k=5, exclude=exclude)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    recommend_to_parquet(
        z_user.to_sparse_csr(), z_item.to_sparse_csr(), paths[2], k=5, exclude=exclude
    )
    assert lists_of(paths[2]) == lists_of(paths[0])


@pytest.mark.parametrize('as_array', [False, True])
def test_only_allowed_items_are_recommended(tmp_path: Path, as_array: bool) -> None:
    z_user, z_item, _ = case()
    allowed = torch.arange(ITEMS) % 3 == 0
    mask = allowed.numpy() if as_array else allowed
    recommend_to_parquet(z_user, z_item, tmp_path / 'x.parquet', k=4, allowed=mask)
    items = recommend(z_user, z_item, k=4, candidates=allowed.nonzero().view(-1)).items
    assert list(lists_of(tmp_path / 'x.parquet').values()) == items.tolist()


def test_a_function_chooses_among_the_best(tmp_path: Path) -> None:
    """The first item of each user whose number is even, found by asking for more and more."""
    z_user, z_item, exclude = case()
    rows: list[np.ndarray] = []

    def choose(users: np.ndarray, search: bulk.Search) -> tuple[np.ndarray, np.ndarray]:
        rows.append(users)
        items, scores = np.full((len(users), 1), -1), np.full((len(users), 1), -np.inf)
        depth = 1
        while (left := (items[:, 0] < 0).nonzero()[0]).size > 0:
            more, their = search(left, depth)
            first = np.where(more % 2 == 0, np.arange(depth), depth).min(axis=1)
            found = (first < depth).nonzero()[0]
            items[left[found], 0] = more[found, first[found]]
            scores[left[found], 0] = their[found, first[found]]
            depth += 2
        return items, scores

    recommend_to_parquet(
        z_user, z_item, tmp_path / 'x.parquet', exclude=exclude, choose=choose, batch_size=64
    )
    even = torch.arange(0, ITEMS, 2)
    expected = recommend(z_user, z_item, k=1, exclude=exclude, candidates=even).items
    assert list(lists_of(tmp_path / 'x.parquet').values()) == expected.tolist()
    assert np.concatenate(rows).tolist() == list(range(USERS))


def test_a_pass_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    z_user, z_item, _ = case()
    path = tmp_path / 'x.parquet'
    recommend_to_parquet(z_user, z_item, path)
    before = path.read_bytes()

    def fail(users: np.ndarray, search: bulk.Search) -> tuple[np.ndarray, np.ndarray]:
        raise RuntimeError('stop')

    with pytest.raises(RuntimeError, match='stop'):
        recommend_to_parquet(z_user, z_item, path, choose=fail)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ['x.parquet']


def test_items_are_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(scoring.ProvenRanking):
        def __init__(self, *args: Any) -> None:
            made.append(1)
            super().__init__(*args)

    monkeypatch.setattr(scoring, 'ProvenRanking', Counted)
    z_user, z_item, _ = case()
    recommend_to_parquet(z_user, z_item, tmp_path / 'x.parquet', batch_size=150)
    assert len(made) <= 1  # none without the compiled extension


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'k': 0}, "'k' must be a positive integer"),
        ({'batch_size': 0}, "'batch_size' must be a positive integer"),
        ({'user_ids': ['a']}, "'user_ids' must have 300 ids"),
        ({'allowed': torch.ones(3, dtype=torch.bool)}, "'allowed' must be a bool for each of"),
        ({'allowed': torch.ones(ITEMS)}, "'allowed' must be a bool for each of"),
        ({'allowed': torch.zeros(ITEMS, dtype=torch.bool)}, "'allowed' allows no item"),
        ({'users': torch.tensor([USERS])}, "'users'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    z_user, z_item, _ = case()
    with pytest.raises(ValueError, match=message):
        recommend_to_parquet(z_user, z_item, tmp_path / 'x.parquet', **options)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="'z_user' must be a tensor or a NumPy array"):
        recommend_to_parquet([[1.0]], z_item, tmp_path / 'x.parquet')  # type: ignore[arg-type]
