import pytest
import torch

from pyg_mmgef.nn.parts import TripletBatch

USERS, ITEMS = torch.tensor([3, 0, 3]), torch.tensor([5, 1, 1])


@pytest.mark.parametrize('shape', [(3,), (3, 2), (1, 4), (3, 0)])
def test_rows_of_distinct_ids_become_triplets(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    negatives = torch.randint(9, shape, generator=generator)
    batch = TripletBatch(USERS, ITEMS, negatives, 4, 9)
    assert batch.user_rows.tolist() == [0, 3]
    assert batch.item_rows.tolist() == sorted({1, 5, *negatives.flatten().tolist()})
    z_user, z_item = (torch.randn(rows, 2, generator=generator) for rows in (4, 9))
    out = batch.triplets(z_user[batch.user_rows], z_item[batch.item_rows])
    for z, expected in zip(out, (z_user[USERS], z_item[ITEMS], z_item[negatives]), strict=True):
        assert torch.equal(z, expected)


def test_ids_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="'users' must hold user ids in"):
        TripletBatch(USERS, ITEMS, ITEMS, 3, 9)
    with pytest.raises(ValueError, match="'items' must hold item ids in"):
        TripletBatch(USERS, ITEMS, ITEMS + 4, 4, 9)
