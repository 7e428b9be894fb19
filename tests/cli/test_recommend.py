import torch

from pyg_mmgef.cli.recommend import similar_items


def test_by_cosine_without_itself_and_without_zeros() -> None:
    x = torch.tensor([[1.0, 0], [0, 0], [3, 3], [-1, 0], [1, 2]])
    cosine, items = similar_items(x, torch.tensor([0, 2]), 9)
    assert items.tolist() == [[2, 4, 3, -1, -1], [4, 0, 3, -1, -1]]
    half, fifth = 0.5**0.5, 0.2**0.5
    expected = torch.tensor([[half, fifth, -1], [3 * fifth * half, half, -half]])
    torch.testing.assert_close(cosine[:, :3], expected)
