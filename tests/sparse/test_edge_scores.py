import pytest
import torch
from torch import Tensor

from pyg_mmgef.sparse import CSRPair, edge_scores

SIZE = 4, 3
EDGE_INDEX = torch.tensor([[3, 0, 0, 1, 3], [0, 2, 0, 2, 0]])  # The first and the last are one.


def features(dtype: torch.dtype = torch.double) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(n, 2, generator=generator, dtype=torch.double).to(dtype) for n in SIZE)  # type: ignore[return-value]


def expected_of(x_source: Tensor, x_destination: Tensor) -> Tensor:
    edges = EDGE_INDEX.t().tolist()
    return torch.stack([x_source[j] @ x_destination[i] for j, i in edges])


def test_equals_the_inner_products() -> None:
    x = features()
    scores = edge_scores(CSRPair(EDGE_INDEX, size=SIZE), *x)
    torch.testing.assert_close(scores, expected_of(*x))


def test_weights_are_not_read() -> None:
    pair = CSRPair(EDGE_INDEX, torch.arange(5.0), SIZE)
    torch.testing.assert_close(edge_scores(pair, *features()), expected_of(*features()))


def test_the_transpose_has_the_same_scores() -> None:
    x_source, x_destination = features()
    pair = CSRPair(EDGE_INDEX, size=SIZE)
    torch.testing.assert_close(
        edge_scores(pair.t(), x_destination, x_source), edge_scores(pair, x_source, x_destination)
    )


def test_gradients() -> None:
    pair = CSRPair(EDGE_INDEX, size=SIZE)
    x = [row.requires_grad_() for row in features()]
    torch.autograd.gradcheck(lambda *ends: edge_scores(pair, *ends), x)
    one = features()[0], x[1]
    (grad,) = torch.autograd.grad(edge_scores(pair, *one).square().sum(), x[1])
    (exact,) = torch.autograd.grad(expected_of(*one).square().sum(), x[1])
    torch.testing.assert_close(grad, exact)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_other_types(dtype: torch.dtype) -> None:
    x = features(dtype)
    scores = edge_scores(CSRPair(EDGE_INDEX, size=SIZE), *x)
    assert scores.dtype == dtype
    exact = expected_of(*(row.float() for row in x)).to(dtype)
    torch.testing.assert_close(scores, exact)


def test_no_edges() -> None:
    pair = CSRPair(torch.empty(2, 0, dtype=torch.long), size=SIZE)
    x = [row.requires_grad_() for row in features()]
    scores = edge_scores(pair, *x)
    assert scores.shape == (0,)
    scores.sum().backward()
    assert all(row.grad is not None and row.grad.eq(0).all() for row in x)


def test_what_does_not_fit() -> None:
    pair = CSRPair(EDGE_INDEX, size=SIZE)
    x_source, x_destination = features()
    with pytest.raises(ValueError, match='must have 4 and 3 rows of the same width'):
        edge_scores(pair, x_destination, x_source)
    with pytest.raises(ValueError, match='of the same width'):
        edge_scores(pair, x_source, x_destination[:, :1])
    with pytest.raises(ValueError, match='must have one type'):
        edge_scores(pair, x_source, x_destination.float())
