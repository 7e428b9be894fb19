from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_mmgef.sparse import CSRPair, edge_scores, layer_mean
from pyg_mmgef.sparse._compiled_ops import edge_products, propagate
from pyg_mmgef.sparse.layer_mean import sum_layers

SIZE = 5, 7
SOME_SOURCES, SOME_DESTINATIONS = torch.tensor([0, 3]), torch.tensor([1, 2, 4])


def random_pair(dtype: torch.dtype = torch.double, seed: int = 0) -> CSRPair:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.stack([torch.randint(n, (20,), generator=generator) for n in SIZE])
    return CSRPair(edge_index, torch.rand(20, generator=generator).to(dtype), SIZE)


FORTH = random_pair(seed=2)
BACK = FORTH.t()


def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x_source, x_destination = (
        torch.randn(n, 3, generator=generator).double().requires_grad_() for n in SIZE
    )
    return x_source, x_destination


def all_of_matmul(pair: CSRPair, x_source: Tensor, x_destination: Tensor) -> Tensor:
    return pair.matmul(x_source) * x_destination


def some_of_matmul(pair: CSRPair, x_source: Tensor, x_destination: Tensor) -> Tensor:
    return pair.matmul(x_source, rows=SOME_DESTINATIONS) + x_destination.sum()


def learned_weights(pair: CSRPair, x_source: Tensor, x_destination: Tensor) -> Tensor:
    weight = edge_scores(pair, x_source, x_destination)
    return pair.matmul(x_source, weight, SOME_DESTINATIONS)


def all_layers(pair: CSRPair, x_source: Tensor, x_destination: Tensor) -> Tensor:
    return torch.cat(layer_mean(pair, x_source, x_destination, 3))


def some_layers(pair: CSRPair, x_source: Tensor, x_destination: Tensor) -> Tensor:
    z = layer_mean(
        pair, x_source, x_destination, 2, sources=SOME_SOURCES, destinations=SOME_DESTINATIONS
    )
    return torch.cat(z)


def two_graphs(pair: CSRPair, x_source: Tensor, x_destination: Tensor) -> Tensor:
    back = BACK if pair.size == SIZE else FORTH
    return torch.cat(layer_mean(pair, x_source, x_destination, 2, back=back, sources=SOME_SOURCES))


def no_layers(pair: CSRPair, x_source: Tensor, x_destination: Tensor) -> Tensor:
    return torch.cat(layer_mean(pair, x_source, x_destination, 0))


@pytest.mark.parametrize('backend', ['eager', 'aot_eager'])
@pytest.mark.parametrize(
    'function',
    [
        all_of_matmul,
        some_of_matmul,
        learned_weights,
        all_layers,
        some_layers,
        two_graphs,
        no_layers,
    ],
)
@pytest.mark.parametrize('reverse', [False, True])
def test_compiled_equals_eager(
    function: Callable[..., Tensor], backend: str, reverse: bool
) -> None:
    """Without a graph break, and with gradients."""
    pair, ends = random_pair(), features()
    pair, ends = (pair.t(), ends[::-1]) if reverse else (pair, ends)

    def run(function: Callable[..., Tensor]) -> list[Tensor]:
        out = function(pair, *ends)
        return [out, *torch.autograd.grad(out.square().sum(), ends)]

    torch.compiler.reset()
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    for found, expected in zip(run(compiled), run(function), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.double])
def test_a_pair_on_other_weights_or_another_type(dtype: torch.dtype) -> None:
    pair = random_pair().to(dtype=dtype)
    x = torch.randn(SIZE[0], 2, dtype=dtype)
    torch.compiler.reset()
    compiled = torch.compile(lambda x: pair.matmul(x), backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(x), pair.matmul(x))
    half = x.bfloat16()
    assert compiled(half).dtype == torch.bfloat16
    torch.testing.assert_close(compiled(half), pair.matmul(half))


@pytest.mark.parametrize(
    ('op', 'arguments'),
    [
        (propagate, ('x_source', None, None, None)),
        (propagate, ('x_source', 'weight', SOME_DESTINATIONS, None)),
        (edge_products, ('x_source', 'x_destination', None)),
        (sum_layers, ('x_source', 'x_destination', 2, None, SOME_DESTINATIONS, None, None)),
    ],
)
def test_operators_are_as_they_are_declared(op: Any, arguments: tuple[Any, ...]) -> None:
    x_source, x_destination = features()
    named = {
        'x_source': x_source,
        'x_destination': x_destination,
        'weight': torch.rand(20, dtype=torch.double, requires_grad=True),
    }
    given = [named[value] if isinstance(value, str) else value for value in arguments]
    graphs = [list(random_pair()._parts)]
    if op is sum_layers:
        graphs.append(list(BACK._parts))
    torch.library.opcheck(op, (*graphs, *given))


def test_the_parts_share_the_memory_of_the_matrices() -> None:
    pair = random_pair()
    matrix = pair.matrix(torch.double)
    for part, of_matrix in zip(
        pair._parts, (matrix.crow_indices(), matrix.col_indices(), matrix.values()), strict=False
    ):
        assert part.data_ptr() == of_matrix.data_ptr()
