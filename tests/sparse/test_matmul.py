import pytest
import torch
from torch import Tensor

from pyg_mmgef.sparse import CSRPair
from pyg_mmgef.sparse import _matmul as products
from pyg_mmgef.sparse._matmul import multiply, sample
from pyg_mmgef.sparse._row_sparse import RowSparse
from tests.references import dense_adjacency

SIZE = (30, 23)  # Sources and destinations.
CHANNELS = [1, 15, 16, 33, 64, 150]
DTYPES = [torch.float32, torch.float64]


@pytest.fixture(params=['compiled', 'torch'])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == 'torch':
        monkeypatch.setattr(products, '_products', None)
    return str(request.param)


def graph(num_edges: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random edges, some of them repeated, and weights; the last nodes have none."""
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.stack(
        [torch.randint(n - 1, (num_edges,), generator=generator) for n in SIZE]
    )
    return edge_index, torch.randn(num_edges, generator=generator, dtype=torch.double)


def random(num_rows: int, channels: int, dtype: torch.dtype, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_rows, channels, generator=generator, dtype=torch.double).to(dtype)


def close(out: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(out.double(), expected.double(), rtol=1e-4, atol=1e-5)


def test_the_products_are_compiled_here() -> None:
    assert products._products is not None, 'not built; is there a C++ compiler?'


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('channels', CHANNELS)
def test_multiply(kind: str, channels: int, dtype: torch.dtype) -> None:
    edge_index, weight = graph()
    matrix = CSRPair(edge_index, weight, SIZE).matrix(dtype)
    dense = dense_adjacency(edge_index, weight, *SIZE).to(dtype)
    x = random(SIZE[0], channels, dtype)
    close(multiply(matrix, x), dense @ x)
    strided = random(channels, SIZE[0], dtype).t()
    close(multiply(matrix, strided), dense @ strided)

    rows = torch.tensor([0, 3, 4, 11, 22])
    close(multiply(matrix, x, rows=rows), (dense @ x)[rows])
    columns = torch.tensor([1, 2, 17, 29])
    some = random(4, channels, dtype)
    sparse = RowSparse(some, columns, SIZE[0])
    close(multiply(matrix, sparse), dense[:, columns] @ some)
    close(multiply(matrix, sparse, rows=rows), dense[rows][:, columns] @ some)

    summand = random(SIZE[1], channels, dtype, seed=2)
    close(multiply(matrix, x, add=summand), dense @ x + summand)
    close(multiply(matrix, x, rows=rows, add=summand[rows]), (dense @ x + summand)[rows])
    expected = dense @ x
    expected[rows] += summand[rows]
    close(multiply(matrix, x, add=RowSparse(summand[rows], rows, SIZE[1])), expected)
    assert torch.equal(summand, random(SIZE[1], channels, dtype, seed=2))


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('channels', CHANNELS)
def test_sample(kind: str, channels: int, dtype: torch.dtype) -> None:
    edge_index, weight = graph()
    pair = CSRPair(edge_index, weight, SIZE)
    left, right = random(SIZE[1], channels, dtype), random(SIZE[0], channels, dtype, seed=2)
    source, destination = edge_index[:, pair._perm]
    expected = (left @ right.t())[destination, source]
    close(sample(pair.matrix(dtype), left, right), expected)
    rows = torch.tensor([2, 5, 6, 22])
    is_asked = torch.isin(destination, rows)
    close(
        sample(pair.matrix(dtype), left[rows], right, rows=rows),
        expected.where(is_asked, 0.0),
    )


def test_nothing_asked_for(kind: str) -> None:
    edge_index, weight = graph()
    matrix = CSRPair(edge_index, weight, SIZE).matrix(torch.float32)
    x, nothing = random(SIZE[0], 8, torch.float32), torch.empty(0, dtype=torch.long)
    assert multiply(matrix, x, rows=nothing).shape == (0, 8)
    assert torch.equal(
        multiply(matrix, RowSparse(x[:0], nothing, SIZE[0])), torch.zeros(SIZE[1], 8)
    )
    assert not sample(matrix, x[:0], x, rows=nothing).any()
    assert multiply(matrix, x[:, :0]).shape == (SIZE[1], 0)


@pytest.mark.parametrize('num_edges', [0, 1, 5000])
def test_threads_make_no_difference(num_edges: int) -> None:
    edge_index, weight = graph(num_edges)
    matrix = CSRPair(edge_index, weight, SIZE).matrix(torch.float32)
    x, threads = random(SIZE[0], 70, torch.float32), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = multiply(matrix, x), sample(matrix, x[: SIZE[1]], x)
        torch.set_num_threads(5)
        many = multiply(matrix, x), sample(matrix, x[: SIZE[1]], x)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one[0], many[0])
    assert torch.equal(one[1], many[1])


def test_many_rows_in_turns() -> None:
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(1000, (2, 9000), generator=generator)
    x = random(1000, 20, torch.float64)
    matrix = CSRPair(edge_index, size=(1000, 1000)).matrix(torch.float64)
    expected = torch.zeros(1000, 20, dtype=torch.double).index_add_(
        0, edge_index[1], x[edge_index[0]]
    )
    close(multiply(matrix, x), expected)


def test_not_a_number_stays_where_it_is_read(kind: str) -> None:
    matrix = CSRPair(torch.tensor([[0, 1], [0, 1]]), size=(2, 2)).matrix(torch.float32)
    x = torch.tensor([[float('nan')], [1.0]])
    out = multiply(matrix, x)
    assert bool(out[0].isnan())
    assert float(out[1]) == 1.0


def test_one_openmp_runtime_serves_torch_and_the_extension() -> None:
    with open('/proc/self/maps') as maps:
        runtimes = {line.split()[-1] for line in maps if 'libgomp' in line}
    torch_has = [path for path in runtimes if '/torch/lib/' in path]
    others = {path for path in runtimes - set(torch_has) if '.libs/' not in path}
    assert not torch_has or not others


def test_compiled_code_never_reads_one_type_as_another() -> None:
    edge_index, weight = graph()
    matrix = CSRPair(edge_index, weight, SIZE).matrix(torch.float32)
    x, y = random(SIZE[0], 8, torch.float64), random(SIZE[1], 8, torch.float32)
    with pytest.raises(RuntimeError):
        multiply(matrix, x)
    with pytest.raises(RuntimeError):
        sample(matrix, y, x)


def test_shapes_and_index_types_are_checked_before_addresses_are_read() -> None:
    edge_index, weight = graph()
    matrix = CSRPair(edge_index, weight, SIZE).matrix(torch.float32)
    x, y = random(SIZE[0], 8, torch.float32), random(SIZE[1], 8, torch.float32)
    with pytest.raises(ValueError, match="'x' must have 30 rows"):
        multiply(matrix, x[1:])
    with pytest.raises(ValueError, match="'add' must have 23 rows"):
        multiply(matrix, x, add=y[1:])
    with pytest.raises(ValueError, match=r"'add' must be contiguous.*8"):
        multiply(matrix, x, add=y[:, :4])
    with pytest.raises(ValueError, match=r"'rows' must be contiguous, torch.int64"):
        multiply(matrix, x, rows=torch.tensor([1], dtype=torch.int32))
    with pytest.raises(ValueError, match=r"'left' must be contiguous.*23"):
        sample(matrix, y[1:], x)
    with pytest.raises(ValueError, match=r"'right' must be contiguous.*30"):
        sample(matrix, y, x[1:])
    narrow = torch.sparse_csr_tensor(
        matrix.crow_indices().int(), matrix.col_indices().int(), matrix.values(), matrix.shape
    )
    with pytest.raises(ValueError, match=r"'start' must be contiguous, torch.int64"):
        multiply(narrow, x)


def test_arguments_have_names() -> None:
    assert products._products is not None
    with pytest.raises(TypeError):
        products._products.multiply(0, 0, 0)
