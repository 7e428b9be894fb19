import math

import pytest
import torch
from torch import Tensor

from pyg_mmgef.nn import ContentCentroid
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.shops import COLD, NUM_ITEMS, NUM_USERS, interacting, small_shop

NO_IMAGE, NO_CONTENT = 5, 6
HISTORIES = [[0, 1, 6], [1, 2], [2, 3], [4, 5], [5, 0], []]
"""What the users of the small shop interacted with."""


def rows_by_hand(x: dict[str, list[list[float]]]) -> list[list[float]]:
    """Scale to unit length, subtract the mean of warm items, and put side by side, in loops."""
    rows: list[list[float]] = [[] for _ in range(NUM_ITEMS)]
    for name, values in x.items():
        lacking = {NO_CONTENT} | ({NO_IMAGE} if name == 'image' else set())
        unit = [[v / (math.hypot(*row) or 1.0) for v in row] for row in values]
        counted = [unit[i] for i in range(NUM_ITEMS) if i not in lacking and i not in COLD]
        mean = [sum(column) / len(counted) for column in zip(*counted, strict=True)]
        for item in range(NUM_ITEMS):
            there = [
                0.0 if item in lacking else v - m for v, m in zip(unit[item], mean, strict=True)
            ]
            rows[item] += there
    return rows


def cosine(a: list[float], b: list[float]) -> float:
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(p * q for p, q in zip(a, b, strict=True)) / lengths if lengths > 0 else 0.0


def test_a_score_is_the_cosine_of_item_and_centroid() -> None:
    data = small_shop()
    rows = rows_by_hand({name: data[ITEM][f'x_{name}'].tolist() for name in ('image', 'text')})
    unit = [[v / (math.hypot(*row) or 1.0) for v in row] for row in rows]
    expected = torch.zeros(NUM_USERS, NUM_ITEMS).double()
    for user, history in enumerate(HISTORIES):
        if history:
            centroid = [
                sum(unit[i][c] for i in history) / len(history) for c in range(len(unit[0]))
            ]
            for item in range(NUM_ITEMS):
                expected[user, item] = cosine(centroid, rows[item])
    model = ContentCentroid.from_data(data).double().eval()
    z_user, z_item = model(data)
    torch.testing.assert_close(z_user @ z_item.t(), expected)
    assert expected[:5, COLD].ne(0).all()
    assert not z_user[5].any()
    assert not z_item[NO_CONTENT].any()


def test_a_user_ranks_by_the_mean_cosine_with_the_history() -> None:
    data = small_shop()
    z_user, z_item = ContentCentroid.from_data(data).double()(data)
    for user, history in enumerate(HISTORIES[:5]):
        mean = (z_item @ z_item[history].t()).mean(dim=1)
        score = z_item @ z_user[user]
        torch.testing.assert_close(score / score.max(), mean / mean.max())


def test_an_items_own_interactions_do_not_matter_for_its_row() -> None:
    data, other = small_shop(), small_shop()
    edges = data[INTERACTS].edge_index
    other[INTERACTS].edge_index = torch.cat([edges, edges[:, ::2], edges], dim=1)
    once, thrice = (ContentCentroid.from_data(each).double()(each) for each in (data, other))
    torch.testing.assert_close(once, thrice)
    more = torch.tensor([[4], [2]])  # Item 2 was warm before.
    other[INTERACTS].edge_index = torch.cat([edges, more], dim=1)
    z_user, z_item = ContentCentroid.from_data(other).double()(other)
    torch.testing.assert_close(z_item, once[1])
    assert not torch.allclose(z_user[4], once[0][4])


def test_new_items_are_embedded_as_cold_ones_are() -> None:
    data = small_shop()
    model = ContentCentroid.from_data(data).double().eval()
    model.cold_scale = 2.0
    x: dict[str, Tensor] = {name: data[ITEM][f'x_{name}'][COLD] for name in ('image', 'text')}
    torch.testing.assert_close(model.embed_items(data, x), model(data)[1][COLD])
    text = model.embed_items(data, x, {'image': torch.tensor([False, True])})
    torch.testing.assert_close(text[1], model(data)[1][COLD[1]])
    assert not text[0, :4].any()
    with pytest.raises(ValueError, match="'x' must have the modalities and channels of the data"):
        model.embed_items(data, {'image': x['image']})


def test_features_that_change_are_read_anew() -> None:
    data = small_shop()
    model = ContentCentroid.from_data(data).double()
    before = model(data)
    assert model(data)[1].data_ptr() == before[1].data_ptr()
    data[ITEM].x_text = data[ITEM].x_text.flip(0)
    assert not torch.allclose(model(data)[1], before[1])


def test_without_features() -> None:
    data = interacting(torch.tensor([[0, 1], [0, 1]]), 2, 3)
    with pytest.raises(ValueError, match='no item features, which ContentCentroid needs'):
        ContentCentroid.from_data(data)(data)
