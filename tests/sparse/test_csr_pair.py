import copy
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.utils import scatter

from pyg_mmgef.sparse import CSRPair
from tests.references import dense_adjacency

ROOT = Path(__file__).parents[2]
SIZES = [(7, 7), (5, 9), (9, 5), (1, 4), (4, 1)]
LAYOUTS = ['unsorted', 'row', 'col', 'undirected row', 'undirected col']


def random_edges(
    size: tuple[int, int], num_edges: int = 40, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Some edges repeat, and the last node of a side that has more than one is isolated."""
    num_edges = min(num_edges, size[0] * size[1])
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(max(n - 1, 1), (num_edges,), generator=generator) for n in size]
    weight = torch.randn(num_edges, generator=generator, dtype=torch.double)
    return torch.stack(rows), weight


def features(num_rows: int, channels: int = 3, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_rows, channels, generator=generator, dtype=torch.double)


def gather_scatter(edge_index: Tensor, weight: Tensor, x: Tensor, num_rows: int) -> Tensor:
    return scatter(weight[:, None] * x[edge_index[0]], edge_index[1], dim_size=num_rows)


def as_layout(layout: str, num_nodes: int) -> EdgeIndex:
    """The same undirected set of edges (with loops) in one order or another."""
    dense = torch.rand(num_nodes, num_nodes, generator=torch.Generator().manual_seed(3)) < 0.4
    dense = dense | dense.t()
    dense[-1] = dense[:, -1] = False
    edges = dense.nonzero().t()  # Sorted by row.
    if layout.endswith('col'):
        edges = edges.flip(0)
    if layout == 'unsorted':
        edges = edges[:, torch.randperm(edges.size(1), generator=torch.Generator().manual_seed(4))]
    return EdgeIndex(
        edges,
        sparse_size=(num_nodes, num_nodes),
        sort_order=None if layout == 'unsorted' else layout.split()[-1],
        is_undirected=layout.startswith('undirected'),
    )


@pytest.mark.parametrize('size', SIZES)
def test_fixed_weights(size: tuple[int, int]) -> None:
    edge_index, weight = random_edges(size)
    pair = CSRPair(edge_index, weight, size)
    x = features(size[0]).requires_grad_()
    out = pair.matmul(x)
    dense = dense_adjacency(edge_index, weight, *size)
    assert torch.allclose(out, dense @ x)
    assert torch.allclose(out, gather_scatter(edge_index, weight, x, size[1]))
    grad = features(size[1], seed=2)
    out.backward(grad)
    assert x.grad is not None
    assert torch.allclose(x.grad, dense.t() @ grad)


@pytest.mark.parametrize('size', SIZES)
def test_without_weights_every_edge_counts_one(size: tuple[int, int]) -> None:
    edge_index, _ = random_edges(size)
    x = features(size[0])
    expected = dense_adjacency(edge_index, None, *size) @ x
    assert torch.allclose(CSRPair(edge_index, size=size).matmul(x), expected)


@pytest.mark.parametrize('size', SIZES)
def test_replaced_weights(size: tuple[int, int]) -> None:
    edge_index, fixed = random_edges(size)
    pair = CSRPair(edge_index, fixed, size)
    leaves = [features(size[0]), random_edges(size, seed=5)[1]]
    grad = features(size[1], seed=2)

    x, weight = (leaf.clone().requires_grad_() for leaf in leaves)
    out = pair.matmul(x, weight)
    out.backward(grad)
    x_ref, weight_ref = (leaf.clone().requires_grad_() for leaf in leaves)
    expected = gather_scatter(edge_index, weight_ref, x_ref, size[1])
    expected.backward(grad)

    assert torch.allclose(out, dense_adjacency(edge_index, leaves[1], *size) @ leaves[0])
    assert torch.allclose(out, expected)
    for ours, theirs in ((x.grad, x_ref.grad), (weight.grad, weight_ref.grad)):
        assert ours is not None
        assert theirs is not None
        assert torch.allclose(ours, theirs)
    # The weights were replaced for one product only.
    assert torch.allclose(pair.matmul(x), dense_adjacency(edge_index, fixed, *size) @ x)


@pytest.mark.parametrize('size', SIZES)
def test_gradcheck(size: tuple[int, int]) -> None:
    edge_index, fixed = random_edges(size, num_edges=12)
    pair = CSRPair(edge_index, fixed, size)
    x = features(size[0], 2).requires_grad_()
    weight = fixed.clone().requires_grad_()
    assert torch.autograd.gradcheck(pair.matmul, (x,))
    assert torch.autograd.gradcheck(pair.matmul, (x, weight))
    assert torch.autograd.gradcheck(lambda w: pair.matmul(x.detach(), w), (weight,))
    assert torch.autograd.gradcheck(
        pair.t().matmul, (features(size[1], 2).requires_grad_(), weight)
    )


def test_gradient_through_an_expression() -> None:
    edge_index, weight = random_edges((6, 6), num_edges=10)
    pair = CSRPair(edge_index, size=(6, 6))

    def two_hops(x: Tensor, w: Tensor) -> Tensor:
        return pair.matmul(pair.matmul(x, w.exp()).t().contiguous().t(), w.square())

    inputs = features(6, 2).requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(two_hops, inputs)


@pytest.mark.parametrize('size', SIZES)
def test_t(size: tuple[int, int]) -> None:
    edge_index, weight = random_edges(size)
    pair = CSRPair(edge_index, weight, size)
    reverse = pair.t()
    x, other = features(size[1]), random_edges(size, seed=6)[1]
    assert reverse.size == (size[1], size[0])
    assert torch.allclose(reverse.matmul(x), dense_adjacency(edge_index, weight, *size).t() @ x)
    expected = dense_adjacency(edge_index, other, *size).t() @ x
    assert torch.allclose(reverse.matmul(x, other), expected)
    assert reverse.t().size == pair.size
    assert torch.equal(reverse.t().matmul(features(size[0])), pair.matmul(features(size[0])))
    built = CSRPair(edge_index.flip(0), weight, (size[1], size[0]))
    assert torch.allclose(built.matmul(x), reverse.matmul(x))


def test_order_of_the_edges_does_not_matter() -> None:
    size = (6, 8)
    edge_index, weight = random_edges(size)
    order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(7))
    x = features(6)
    pair, permuted = (
        CSRPair(edge_index, weight, size),
        CSRPair(edge_index[:, order], weight[order], size),
    )
    assert torch.allclose(pair.matmul(x), permuted.matmul(x))
    replaced = weight.square()
    assert torch.allclose(pair.matmul(x, replaced), permuted.matmul(x, replaced[order]))


def test_repeated_edges_add_up_and_have_their_own_gradients() -> None:
    edge_index = torch.tensor([[0, 0, 1, 0], [1, 1, 1, 1]])
    pair = CSRPair(edge_index, size=(2, 2))
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    out = pair.matmul(torch.tensor([[1.0], [10.0]]), weight)
    assert out.tolist() == [[0.0], [37.0]]
    out.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [1.0, 1.0, 10.0, 1.0]


def test_more_edges_than_pairs_of_nodes() -> None:
    edge_index = torch.tensor([[0, 0, 0], [1, 1, 0]])
    weight = torch.ones(3, requires_grad=True)
    CSRPair(edge_index, size=(1, 2)).matmul(torch.ones(1, 4), weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [4.0, 4.0, 4.0]


def test_isolated_nodes_receive_zero() -> None:
    pair = CSRPair(torch.tensor([[1], [2]]), size=(3, 5))
    out = pair.matmul(torch.ones(3, 2))
    assert out.tolist() == [[0, 0], [0, 0], [1, 1], [0, 0], [0, 0]]
    assert pair.num_incoming.tolist() == [0, 0, 1, 0, 0]
    assert pair.t().num_incoming.tolist() == [0, 1, 0]


@pytest.mark.parametrize('num_edges', [0, 40])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_what_memory_held_before_never_shows(num_edges: int, dtype: torch.dtype) -> None:
    edge_index, weight = random_edges((50, 70), num_edges)
    pair = CSRPair(edge_index, weight, (50, 70))
    x = features(50, 16).to(dtype).requires_grad_()
    dense = dense_adjacency(edge_index, weight, 50, 70).to(dtype)
    for _ in range(5):
        rubbish = [torch.full((rows, 16), float('nan'), dtype=dtype) for rows in (50, 70)]
        del rubbish  # The allocator hands the same memory out again.
        out = pair.matmul(x)
        (grad,) = torch.autograd.grad(out.sum(), x)
        assert torch.allclose(out, dense @ x, atol=1e-5)
        assert torch.allclose(grad, dense.t() @ torch.ones_like(out), atol=1e-5)


@pytest.mark.parametrize('size', [(3, 4), (0, 4), (3, 0)])
def test_no_edges(size: tuple[int, int]) -> None:
    pair = CSRPair(torch.empty(2, 0, dtype=torch.long), size=size)
    x = torch.ones(size[0], 2, requires_grad=True)
    weight = torch.empty(0, requires_grad=True)
    for out in (pair.matmul(x), pair.matmul(x, weight)):
        assert torch.equal(out, torch.zeros(size[1], 2))
        out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros(size[0], 2))
    assert weight.grad is not None
    assert weight.grad.shape == (0,)
    assert pair.num_edges == 0
    assert pair.num_incoming.tolist() == [0] * size[1]


@pytest.mark.parametrize('layout', LAYOUTS)
def test_edge_index_layouts(layout: str) -> None:
    edges = as_layout(layout, 8)
    plain = edges.as_tensor()
    weight = torch.randn(
        edges.size(1), generator=torch.Generator().manual_seed(8), dtype=torch.double
    )  # Also of an undirected graph not symmetric.
    pair = CSRPair(edges, weight)
    assert pair.size == (8, 8)
    x = features(8).requires_grad_()
    replaced = (weight + 1).requires_grad_()
    dense = dense_adjacency(plain, weight, 8, 8)
    assert torch.allclose(pair.matmul(x), dense @ x)
    assert torch.allclose(pair.t().matmul(x), dense.t() @ x)
    expected = dense_adjacency(plain, replaced.detach(), 8, 8)
    assert torch.allclose(pair.matmul(x, replaced), expected @ x)
    assert torch.autograd.gradcheck(pair.matmul, (x, replaced))
    assert torch.autograd.gradcheck(pair.matmul, (x,))


@pytest.mark.parametrize('sort_order', ['row', 'col'])
def test_sorted_bipartite_edge_index_with_repeated_edges(sort_order: str) -> None:
    size = (5, 9)
    edge_index, weight = random_edges(size)
    order = edge_index[0 if sort_order == 'row' else 1].argsort(stable=True)
    edge_index, weight = edge_index[:, order], weight[order]
    pair = CSRPair(EdgeIndex(edge_index, sparse_size=size, sort_order=sort_order), weight)
    x = features(5).requires_grad_()
    assert pair.size == size
    assert torch.allclose(pair.matmul(x), dense_adjacency(edge_index, weight, *size) @ x)
    assert torch.autograd.gradcheck(pair.matmul, (x, weight.clone().requires_grad_()))


@pytest.mark.parametrize('sort_order', ['row', 'col'])
def test_size_beyond_the_ids_of_a_sorted_edge_index(sort_order: str) -> None:
    edges = torch.tensor([[0, 1], [1, 0]])
    edges = edges if sort_order == 'row' else edges.flip(0)
    pair = CSRPair(EdgeIndex(edges, sort_order=sort_order), size=(4, 5))
    # What torch needs to read inside its bounds; a product would read beyond them.
    assert pair.num_incoming.tolist() == [1, 1, 0, 0, 0]
    assert pair.t().num_incoming.tolist() == [1, 1, 0, 0]


def test_edge_index_stays_as_it_was() -> None:
    for layout in LAYOUTS:
        edges = as_layout(layout, 8)
        before = edges.as_tensor().clone()
        CSRPair(edges)
        assert torch.equal(edges.as_tensor(), before)
        assert edges.sort_order == as_layout(layout, 8).sort_order


@pytest.mark.parametrize('dtype', [torch.int32, torch.int64])
def test_id_types(dtype: torch.dtype) -> None:
    edge_index, weight = random_edges((6, 8))
    x = features(6).requires_grad_()
    pair = CSRPair(edge_index.to(dtype), weight, (6, 8))
    assert torch.allclose(pair.matmul(x), dense_adjacency(edge_index, weight, 6, 8) @ x)
    assert torch.autograd.gradcheck(pair.matmul, (x, weight.clone().requires_grad_()))


@pytest.mark.parametrize('weight_dtype', [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize('x_dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('fixed', [True, False])
def test_result_has_the_precision_of_x(
    weight_dtype: torch.dtype, x_dtype: torch.dtype, fixed: bool
) -> None:
    size = (6, 8)
    edge_index, weight = random_edges(size)
    weight = weight.to(weight_dtype)
    replaced = None if fixed else weight.clone().requires_grad_()
    pair = CSRPair(edge_index, weight if fixed else None, size)
    x = features(6).to(x_dtype).requires_grad_()
    out = pair.matmul(x, replaced)
    assert out.dtype == x_dtype
    dense = dense_adjacency(edge_index, weight.double(), *size)
    assert torch.allclose(out.double(), dense @ x.double(), atol=1e-5)
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == x_dtype
    assert torch.allclose(x.grad.double(), dense.t() @ torch.ones_like(out).double(), atol=1e-5)
    if replaced is not None:
        assert replaced.grad is not None
        assert replaced.grad.dtype == weight_dtype
        expected = x.detach().double().sum(1)[edge_index[0]]
        assert torch.allclose(replaced.grad.double(), expected, atol=1e-2)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('fixed', [True, False])
def test_half_precision(dtype: torch.dtype, fixed: bool) -> None:
    edge_index, weight = random_edges((6, 8))
    weight = weight.to(dtype)
    replaced = None if fixed else weight.clone().requires_grad_()
    pair = CSRPair(edge_index, weight if fixed else None, (6, 8))
    x = features(6).to(dtype).requires_grad_()
    out = pair.matmul(x, replaced)
    out.sum().backward()
    assert out.dtype == dtype
    dense = dense_adjacency(edge_index, weight.double(), 6, 8)
    assert torch.allclose(out.double(), dense @ x.double(), atol=0.02, rtol=0.02)
    assert x.grad is not None
    assert x.grad.dtype == dtype
    expected = dense.t() @ torch.ones_like(out).double()
    assert torch.allclose(x.grad.double(), expected, atol=0.02, rtol=0.02)
    if replaced is not None:
        assert replaced.grad is not None
        assert replaced.grad.dtype == dtype


def test_under_autocast() -> None:
    edge_index, weight = random_edges((6, 8))
    pair = CSRPair(edge_index, weight.float(), (6, 8))
    x, replaced = features(6).float().requires_grad_(), weight.float().requires_grad_()
    expected = pair.matmul(x, replaced)
    with torch.autocast('cpu', torch.bfloat16):
        out = pair.matmul(x, replaced)
        grads = torch.autograd.grad(out.sum(), (x, replaced))
    assert torch.equal(out, expected)
    assert all(map(torch.equal, grads, torch.autograd.grad(expected.sum(), (x, replaced))))


def test_fixed_weights_take_no_gradient() -> None:
    edge_index, weight = random_edges((6, 8))
    weight.requires_grad_()
    assert not CSRPair(edge_index, weight, (6, 8)).matmul(features(6)).requires_grad


def test_later_changes_of_the_weights_do_not_matter() -> None:
    edge_index, weight = random_edges((6, 8))
    pair = CSRPair(edge_index, weight, (6, 8))
    before = pair.matmul(features(6))
    weight.zero_()
    assert torch.equal(pair.matmul(features(6)), before)


def test_pickle() -> None:
    edge_index, weight = random_edges((6, 8))
    pair = CSRPair(edge_index, weight, (6, 8))
    loaded: CSRPair = pickle.loads(pickle.dumps(pair))
    assert repr(loaded) == repr(pair)
    for one, other in ((loaded, pair), (loaded.t(), pair.t())):
        x = features(other.size[0])
        assert torch.equal(one.matmul(x), other.matmul(x))
        assert torch.equal(one.matmul(x, weight.square()), other.matmul(x, weight.square()))


def test_deepcopy() -> None:
    edge_index, weight = random_edges((6, 8))
    pair = CSRPair(edge_index, weight, (6, 8))
    assert torch.equal(copy.deepcopy(pair).matmul(features(6)), pair.matmul(features(6)))


def test_properties_and_repr() -> None:
    pair = CSRPair(torch.tensor([[0, 1, 1], [0, 0, 2]]), size=(2, 3))
    assert repr(pair) == 'CSRPair(size=(2, 3), num_edges=3)'
    assert repr(pair.t()) == 'CSRPair(size=(3, 2), num_edges=3)'
    assert pair.num_edges == 3
    assert pair.num_incoming.tolist() == [2, 0, 1]
    assert pair.device == torch.device('cpu')


def test_wrong_arguments() -> None:
    edge_index, weight = random_edges((6, 8))
    with pytest.raises(ValueError, match="'size' is missing"):
        CSRPair(edge_index)
    with pytest.raises(ValueError, match="'edge_index' holds the source node id"):
        CSRPair(edge_index, size=(2, 8))
    with pytest.raises(ValueError, match="'edge_index' holds the destination node id"):
        CSRPair(edge_index, size=(6, 2))
    with pytest.raises(ValueError, match="'edge_index' holds the negative source node id -1"):
        CSRPair(torch.tensor([[-1], [0]]), size=(6, 8))
    with pytest.raises(ValueError, match="'edge_index' must hold integer ids"):
        CSRPair(edge_index.float(), size=(6, 8))
    with pytest.raises(ValueError, match=re.escape("'edge_index' must have shape [2, E]")):
        CSRPair(edge_index.t(), size=(6, 8))
    for wrong in (weight[1:], weight[:, None]):
        with pytest.raises(ValueError, match=re.escape("'edge_weight' must have shape [40]")):
            CSRPair(edge_index, wrong, (6, 8))
        with pytest.raises(ValueError, match=re.escape("'edge_weight' must have shape [40]")):
            CSRPair(edge_index, size=(6, 8)).matmul(features(6), wrong)
    for x in (features(8), features(6)[:, 0], features(6)[None]):
        with pytest.raises(ValueError, match=re.escape("'x' must have shape [6, channels]")):
            CSRPair(edge_index, weight, (6, 8)).matmul(x)


def test_no_warnings() -> None:
    script = (
        'import torch\n'
        'from pyg_mmgef.sparse import CSRPair\n'
        'pair = CSRPair(torch.tensor([[0, 1], [1, 0]]), size=(2, 2))\n'
        'x, weight = torch.ones(2, 2, requires_grad=True), torch.ones(2, requires_grad=True)\n'
        'pair.t().matmul(pair.matmul(x, weight)).sum().backward()\n'
        'assert weight.grad.tolist() == [2.0, 2.0]\n'
    )
    # PyG scripts functions when it is imported, of which torch 2.15 warns everyone.
    filters = ['-W', 'error::UserWarning', '-W', 'ignore::FutureWarning:torch.jit._script']
    command = [sys.executable, *filters, '-c', script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''


def test_global_warning_filters_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError('the filters belong to all threads')

    monkeypatch.setattr(warnings, 'catch_warnings', refuse)
    CSRPair(torch.tensor([[0], [1]]), size=(2, 2)).matmul(torch.ones(2, 1))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_ones_are_exact_in_every_type(dtype: torch.dtype) -> None:
    edge_index, _ = random_edges((6, 8))
    x = features(6).to(dtype)
    out = CSRPair(edge_index, size=(6, 8)).matmul(x)
    expected = dense_adjacency(edge_index, None, 6, 8).double() @ x.double()
    tol = {torch.float64: 1e-14, torch.float32: 1e-6}.get(dtype, torch.finfo(dtype).eps)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=tol, atol=tol)


def test_to_moves_and_converts() -> None:
    edge_index, weight = random_edges((6, 8))
    pair = CSRPair(edge_index, weight, (6, 8))
    single = pair.to(dtype=torch.float32)
    assert single.matrix(torch.float32) is single._matrix
    torch.testing.assert_close(single.matmul(features(6).float()), pair.matmul(features(6)).float())
    moved = pair.to(device='meta', non_blocking=True)
    assert moved.device.type == moved._matrix.device.type == 'meta'
    assert pair.to(torch.device('cpu')).cpu().device.type == 'cpu'


@pytest.mark.parametrize('layout', LAYOUTS)
def test_edges_are_those_it_was_made_from(layout: str) -> None:
    edges = as_layout(layout, 8)
    weight = torch.arange(edges.size(1), dtype=torch.double)
    pair = CSRPair(edges, weight)
    for one, expected in ((pair, edges.as_tensor()), (pair.t(), edges.as_tensor().flip(0))):
        assert torch.equal(one.edges()[0], expected)
        assert torch.equal(one.edges()[1], weight)


def test_second_derivatives_and_function_transforms_are_refused() -> None:
    edge_index, weight = random_edges((6, 8))
    pair, x = CSRPair(edge_index, weight, (6, 8)), features(6).requires_grad_()
    (grad,) = torch.autograd.grad(pair.matmul(x).pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()
    with pytest.raises(RuntimeError, match='functorch'):
        torch.func.grad(lambda x: pair.matmul(x).sum())(x.detach())


def test_is_not_built_while_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    with pytest.raises(RuntimeError, match='before compiling'):
        CSRPair(torch.tensor([[9], [9]]), size=(2, 2))


@pytest.mark.device
def test_products_on_a_device(device: str) -> None:
    edge_index, weight = random_edges((6, 8))
    pair = CSRPair(edge_index, weight, (6, 8)).to(device)
    x = features(6).to(device).requires_grad_()
    replaced = weight.square().to(device).requires_grad_()
    dense = dense_adjacency(edge_index, weight.square(), 6, 8).to(device)
    out = pair.matmul(x, replaced)
    torch.testing.assert_close(out, dense @ x)
    grad_x, grad_weight = torch.autograd.grad(out.sum(), (x, replaced))
    torch.testing.assert_close(grad_x, dense.sum(dim=0)[:, None].expand_as(x))
    torch.testing.assert_close(grad_weight, x.detach().sum(dim=1)[edge_index[0].to(device)])


@pytest.mark.sparse
def test_equals_sparse_tensor() -> None:
    torch_sparse = pytest.importorskip('torch_sparse')
    size = (6, 8)
    edge_index, weight = random_edges(size)
    x = features(6)
    adj_t = torch_sparse.SparseTensor(
        row=edge_index[1], col=edge_index[0], value=weight, sparse_sizes=(8, 6)
    )
    assert torch.allclose(CSRPair(edge_index, weight, size).matmul(x), adj_t.matmul(x))
