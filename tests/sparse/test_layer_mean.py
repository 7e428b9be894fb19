from functools import partial

import pytest
import torch
from torch import Tensor

from pyg_mmgef.graph import bipartite_normalize
from pyg_mmgef.nn import BipartiteLGConv
from pyg_mmgef.sparse import CSRPair, layer_mean
from pyg_mmgef.sparse import _matmul as products
from tests.references import bipartite_normalized, dense_adjacency

SIZE = (7, 5)
EDGES = torch.tensor(
    [[0, 0, 1, 1, 2, 3, 4, 5, 5], [0, 1, 1, 2, 0, 3, 3, 0, 2]]
)  # 6 and 4 have none.
SOURCES, DESTINATIONS = torch.tensor([0, 3, 6]), torch.tensor([1, 4])


def pair() -> CSRPair:
    weight = bipartite_normalize(EDGES, torch.ones(9, dtype=torch.double), SIZE)
    return CSRPair(EDGES, weight, SIZE)


def features(channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x_source, x_destination = (
        torch.randn(n, channels, generator=generator, dtype=torch.double).requires_grad_()
        for n in SIZE
    )
    return x_source, x_destination


def dense(x_source: Tensor, x_destination: Tensor, num_layers: int) -> tuple[Tensor, Tensor]:
    forth = bipartite_normalized(dense_adjacency(EDGES, None, *SIZE))
    layers = [(x_source, x_destination)]
    for _ in range(num_layers):
        x_source, x_destination = forth.t() @ x_destination, forth @ x_source
        layers.append((x_source, x_destination))
    z_source, z_destination = (torch.stack(side).mean(0) for side in zip(*layers, strict=True))
    return z_source, z_destination


@pytest.mark.parametrize('compiled', [True, False])
@pytest.mark.parametrize('rows', [(None, None), (SOURCES, DESTINATIONS), (SOURCES, None)])
@pytest.mark.parametrize('num_layers', [0, 1, 2, 3])
def test_equals_the_dense_oracle(
    num_layers: int,
    rows: tuple[Tensor | None, Tensor | None],
    compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not compiled:
        monkeypatch.setattr(products, '_products', None)
    x, (sources, destinations) = features(), rows
    out = layer_mean(pair(), *x, num_layers, sources=sources, destinations=destinations)
    z_source, z_destination = dense(*x, num_layers)
    expected = (
        z_source if sources is None else z_source[sources],
        z_destination if destinations is None else z_destination[destinations],
    )
    torch.testing.assert_close(out, expected)
    grads, exact = (
        torch.autograd.grad(a.pow(3).sum() + b.square().sum(), x) for a, b in (out, expected)
    )
    torch.testing.assert_close(grads, exact)


@pytest.mark.parametrize('num_layers', [0, 1, 3])
def test_gradcheck(num_layers: int) -> None:
    graph = pair()
    for sources, destinations in [(None, None), (SOURCES, DESTINATIONS)]:
        function = partial(
            layer_mean, graph, num_layers=num_layers, sources=sources, destinations=destinations
        )
        assert torch.autograd.gradcheck(function, features(2))


def other_way() -> CSRPair:
    """A graph from destinations to sources that isn't the reverse of the other."""
    generator = torch.Generator().manual_seed(1)
    edges = torch.stack([torch.randint(n, (12,), generator=generator) for n in SIZE[::-1]])
    return CSRPair(edges, torch.rand(12, generator=generator, dtype=torch.double), SIZE[::-1])


@pytest.mark.parametrize('rows', [(None, None), (SOURCES, DESTINATIONS), (None, DESTINATIONS)])
@pytest.mark.parametrize('num_layers', [0, 1, 2, 3])
def test_each_direction_may_have_its_own_graph(
    num_layers: int, rows: tuple[Tensor | None, Tensor | None]
) -> None:
    x, (sources, destinations), back = features(), rows, other_way()
    forth = bipartite_normalized(dense_adjacency(EDGES, None, *SIZE))
    matrix = dense_adjacency(*back.edges(), *SIZE[::-1])
    h_source, h_destination = x
    total = list(x)
    for _ in range(num_layers):
        h_source, h_destination = matrix @ h_destination, forth @ h_source
        total = [total[0] + h_source, total[1] + h_destination]
    expected = tuple(
        (z if some is None else z[some]) / (num_layers + 1)
        for z, some in zip(total, rows, strict=True)
    )
    out = layer_mean(pair(), *x, num_layers, back=back, sources=sources, destinations=destinations)
    torch.testing.assert_close(out, expected)
    grads, exact = (
        torch.autograd.grad(a.pow(3).sum() + b.square().sum(), x) for a, b in (out, expected)
    )
    torch.testing.assert_close(grads, exact)


def test_the_reverse_graph_changes_nothing() -> None:
    x = features()
    for z, expected in zip(
        layer_mean(pair(), *x, 2, back=pair().t()), layer_mean(pair(), *x, 2), strict=True
    ):
        assert torch.equal(z, expected)


def test_equals_stacked_convolutions() -> None:
    graph, conv = pair(), BipartiteLGConv(normalize=False)
    x_source, x_destination = features()
    layers = [(x_source, x_destination)]
    for _ in range(2):
        a, b = layers[-1]
        layers.append((conv((b, None), graph.t()), conv((a, None), graph)))
    expected = tuple(torch.stack(side).mean(0) for side in zip(*layers, strict=True))
    torch.testing.assert_close(layer_mean(graph, x_source, x_destination, 2), expected)


def test_one_side_without_gradient() -> None:
    x_source, x_destination = features()
    z_source, _ = layer_mean(pair(), x_source, x_destination.detach(), 2)
    z_source.sum().backward()
    (exact,) = torch.autograd.grad(dense(x_source, x_destination, 2)[0].sum(), x_source)
    assert x_source.grad is not None
    torch.testing.assert_close(x_source.grad, exact)


def test_the_result_is_nobody_elses_memory() -> None:
    x_source, x_destination = features()
    before = x_source.detach().clone()
    for num_layers in (0, 1):
        z_source, _ = layer_mean(pair(), x_source, x_destination, num_layers)
        z_source.detach().zero_()
        assert torch.equal(x_source, before)


def test_single_precision() -> None:
    x_source, x_destination = (x.detach().float() for x in features())
    out = layer_mean(pair(), x_source, x_destination, 2)
    for z, exact in zip(out, dense(x_source.double(), x_destination.double(), 2), strict=True):
        assert z.dtype == torch.float32
        torch.testing.assert_close(z.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    x_source, x_destination = (x.detach().to(dtype).requires_grad_() for x in features())
    out = layer_mean(pair(), x_source, x_destination, 2, sources=SOURCES)
    exact = dense(x_source.double(), x_destination.double(), 2)
    for z, expected in zip(out, (exact[0][SOURCES], exact[1]), strict=True):
        assert z.dtype == dtype
        torch.testing.assert_close(z.double(), expected, rtol=0.02, atol=0.02)
    out[0].sum().backward()
    assert x_source.grad is not None
    assert x_source.grad.dtype == dtype


def test_errors() -> None:
    x_source, x_destination = features()
    with pytest.raises(ValueError, match=r"'back' must lead from 5 .* to 7 .*got size=\(7, 5\)"):
        layer_mean(pair(), x_source, x_destination, 1, back=pair())
    with pytest.raises(ValueError, match=r"'x_source' and 'x_destination' must have 7 and 5 rows"):
        layer_mean(pair(), x_destination, x_source, 1)
    with pytest.raises(
        ValueError, match=r'must have one type \(got torch.float64 and torch.float32'
    ):
        layer_mean(pair(), x_source, x_destination.float(), 1)
    with pytest.raises(ValueError, match=r"'sources' must hold each source node id once, in order"):
        layer_mean(pair(), x_source, x_destination, 1, sources=torch.tensor([2, 2]))
    with pytest.raises(ValueError, match=r"'destinations' must hold .* in \[0, 5\) .*from 1 to 5"):
        layer_mean(pair(), x_source, x_destination, 1, destinations=torch.tensor([1, 5]))
    with pytest.raises(ValueError, match=r"'sources' must be a vector of source node ids"):
        layer_mean(pair(), x_source, x_destination, 1, sources=torch.tensor([1.0]))
