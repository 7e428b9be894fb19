"""All users in one pass, written to a file: the same items as recommend finds for each."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from pyg_mmgef.ranking import (
    recommend,
    recommend_to_parquet,
    scoring,
    write_recommendations,
)

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


def test_titles_are_a_column_of_their_own(tmp_path: Path) -> None:
    z_user, z_item, _ = case()
    titles = [None if i % 5 == 0 else f'Item {i}' for i in range(ITEMS)]
    recommend_to_parquet(z_user, z_item, tmp_path / 'x.parquet', k=3, titles=titles)
    table = pq.read_table(tmp_path / 'x.parquet')
    assert table['title'].to_pylist() == [titles[i] for i in table['item'].to_pylist()]


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


def test_a_function_of_your_own_ranks(tmp_path: Path) -> None:
    asked: list[int] = []

    def rank(users: Tensor) -> tuple[Tensor, Tensor]:
        asked.extend(users.tolist())
        items = torch.stack([users, users + 1], dim=1)
        items[users == 3, 1] = -1
        return items / 4, items

    users = torch.tensor([5, 3, 0])
    count = write_recommendations(
        tmp_path / 'x.parquet', users, rank, user_ids='abcdef', item_ids=range(10, 17), batch_size=2
    )
    assert count == 5
    assert asked == users.tolist()
    assert lists_of(tmp_path / 'x.parquet') == {'f': [15, 16], 'd': [13], 'a': [10, 11]}
    scores = pq.read_table(tmp_path / 'x.parquet')['score'].to_pylist()
    assert scores == [1.25, 1.5, 0.75, 0.0, 0.25]


def test_a_pass_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'x.parquet'
    recommend_to_parquet(torch.eye(3), torch.eye(3), path)
    before = path.read_bytes()

    def fail(users: Tensor) -> tuple[Tensor, Tensor]:
        if 2 in users.tolist():
            raise RuntimeError('stop')
        return users[:, None] / 1, users[:, None]

    with pytest.raises(RuntimeError, match='stop'):
        write_recommendations(
            path, torch.arange(3), fail, user_ids='abc', item_ids='abc', batch_size=1
        )
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
        ({'user_ids': ['a']}, "'user_ids' must have 300 entries"),
        ({'titles': ['a']}, "'titles' must have 400 entries"),
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
