import pytest
import torch

from pyg_mmgef.nn.parts._id_rows import distinct, restore, select


def test_all_nodes_stay_all_nodes() -> None:
    z = torch.ones(3, 2)
    assert distinct('users', None, 3, 'user') == (None, None)
    assert restore(z, None) is z


@pytest.mark.parametrize('dtype', [torch.int32, torch.int64])
@pytest.mark.parametrize('shape', [(6,), (2, 3), (3, 1, 2), (0,), (0, 2)])
def test_every_id_finds_its_row(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    table = torch.arange(20.0).view(10, 2).requires_grad_()
    ids = torch.tensor([7, 2, 2, 9, 0, 7], dtype=dtype)[: torch.Size(shape).numel()].view(shape)
    rows, place = distinct('items', ids, 10, 'item')
    assert rows is not None
    assert rows.tolist() == sorted(set(ids.flatten().tolist()))
    out = restore(table[rows], place)
    assert torch.equal(out, table[ids.long()])
    grad = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        torch.autograd.grad(out, table, grad), torch.autograd.grad(table[ids.long()], table, grad)
    )


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"'users' must hold user ids in \[0, 5\) .*from 1 to 5"):
        distinct('users', torch.tensor([1, 5, 1]), 5, 'user')
    with pytest.raises(ValueError, match=r"'users' must hold user ids in .*from -1 to 2"):
        distinct('users', torch.tensor([2, -1]), 5, 'user')
    with pytest.raises(ValueError, match=r"'items' must be a tensor .*\(got torch.bool\)"):
        distinct('items', torch.tensor([True]), 5, 'item')
    with pytest.raises(ValueError, match=r"'items' must be a tensor of item ids .*list"):
        distinct('items', [1], 5, 'item')  # type: ignore[arg-type]


@pytest.mark.parametrize('ids', [[3, 0, 3, 1], [], [2]])
def test_rows_of_a_sparse_matrix(ids: list[int]) -> None:
    dense = torch.tensor([[0, 1, 2], [0, 0, 0], [3, 0, 0], [0, 4, 0]]).float()
    rows = torch.tensor(ids, dtype=torch.long)
    out = select(dense.to_sparse_csr(), rows)
    assert out.layout == torch.sparse_csr
    assert torch.equal(out.to_dense(), dense[rows])
    assert torch.equal(restore(dense.to_sparse_csr(), rows).to_dense(), dense[rows])


def test_rows_of_a_sparse_matrix_have_no_further_dimension() -> None:
    with pytest.raises(ValueError, match=r'ids must be a vector \(got ids of shape \[1, 2\]\)'):
        restore(torch.eye(3).to_sparse_csr(), torch.tensor([[0, 1]]))
