from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Linear

from pyg_mmgef.nn.parts import ItemGraphEncoder, LatentGraphs, convolve
from pyg_mmgef.schema import ITEM
from pyg_mmgef.sparse import CSRPair
from tests.nn.models.shops import CHANNELS, NUM_ITEMS, small_shop
from tests.references import dense_adjacency, soft_attention, soft_fusion

RELATIONS = ('similar', 'co_interacts')
ITEMS = torch.tensor([0, 3, 6, 8])
INPUTS = ['x', 'features', 'both']


def encoder_of(inputs: str = 'features', seed: int = 0, **options: Any) -> ItemGraphEncoder:
    torch.manual_seed(seed)
    in_channels = None if inputs == 'x' else CHANNELS
    encoder = ItemGraphEncoder(RELATIONS, NUM_ITEMS, 5, in_channels, **options).double()
    if encoder.attention is not None:
        for parameter in encoder.attention.parameters():
            torch.nn.init.normal_(parameter)
    return encoder


def inputs_of(inputs: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(NUM_ITEMS, 5, generator=generator, dtype=torch.double).requires_grad_()
    e = torch.randn(NUM_ITEMS, CHANNELS, generator=generator, dtype=torch.double)
    return {'x': {'x': x}, 'features': {'features': e}, 'both': {'x': x, 'features': e}}[inputs]


def expected_of(encoder: ItemGraphEncoder, given: dict[str, Tensor]) -> Tensor:
    data, matrices = small_shop(), []
    for relation in RELATIONS:
        graph = data[ITEM, relation, ITEM]
        size = NUM_ITEMS, NUM_ITEMS
        matrices.append(dense_adjacency(graph.edge_index, graph.edge_weight, *size))
    h = torch.zeros(NUM_ITEMS, 5, dtype=torch.double)
    if 'x' in given:
        h = h + given['x']
    if 'features' in given:
        assert isinstance(encoder.lin, Linear)
        h = h + given['features'] @ encoder.lin.weight.t() + encoder.lin.bias
    if encoder.attention is None:
        return h
    attention = encoder.attention
    if attention.logit is None:
        merged = torch.stack(matrices).mean(dim=0)
    else:
        weights = [
            None if lin is None else lin.weight for lin in (attention.lin_dst, attention.lin_src)
        ]
        merged = soft_fusion(matrices, soft_attention(attention.logit, h, *weights))
    layers = [h]
    for _ in range(encoder.num_layers):
        layers.append(merged @ layers[-1])
    return layers[-1] if encoder.readout == 'last' else torch.stack(layers).mean(dim=0)


def gradients(h: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    grads = torch.autograd.grad(h.pow(3).sum(), leaves, allow_unused=True)
    return [
        torch.zeros_like(leaf) if grad is None else grad
        for grad, leaf in zip(grads, leaves, strict=True)
    ]


@pytest.mark.parametrize('items', [None, ITEMS])
@pytest.mark.parametrize('cache_bytes', [0, 2**30])
@pytest.mark.parametrize('readout', ['last', 'mean'])
@pytest.mark.parametrize('num_layers', [0, 1, 2])
@pytest.mark.parametrize('attention', ['graph', 'node', 'edge', 'mean'])
@pytest.mark.parametrize('inputs', INPUTS)
def test_equals_the_dense_reference(
    inputs: str,
    attention: str,
    num_layers: int,
    readout: str,
    cache_bytes: int,
    items: Tensor | None,
) -> None:
    encoder = encoder_of(
        inputs, attention=attention, num_layers=num_layers, readout=readout, cache_bytes=cache_bytes
    )
    given, data = inputs_of(inputs), small_shop()
    h = encoder(data, **given, items=items)
    expected = expected_of(encoder, given)
    expected = expected if items is None else expected[items]
    torch.testing.assert_close(h, expected)
    leaves = [*encoder.parameters(), *([given['x']] if 'x' in given else [])]
    if leaves and h.requires_grad:
        for grad, other in zip(gradients(h, leaves), gradients(expected, leaves), strict=True):
            torch.testing.assert_close(grad, other)


def test_features_propagate_once_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    data, encoder, calls = small_shop(), encoder_of(), []
    matmul = CSRPair.matmul

    def counted(self: CSRPair, x: Tensor, *args: Any) -> Tensor:
        calls.extend([1] if x.size(0) == NUM_ITEMS else [])
        return matmul(self, x, *args)

    monkeypatch.setattr(CSRPair, 'matmul', counted)
    e = inputs_of('features')['features']
    for _ in range(3):
        encoder(data, features=e)
    assert len(calls) == 2  # Two graphs.
    e[0] += 1
    torch.testing.assert_close(encoder(data, features=e), expected_of(encoder, {'features': e}))
    assert len(calls) == 4
    data[ITEM, 'similar', ITEM].edge_weight *= 2
    encoder(data, features=e)
    assert len(calls) == 6


def test_the_limit_of_memory_is_kept() -> None:
    data, e = small_shop(), inputs_of('features')['features']
    kept = NUM_ITEMS * 2 * 16 * e.element_size()  # Two graphs, channels padded to 16.
    for limit, is_cached in ((kept, True), (kept - 1, False), (0, False)):
        encoder = encoder_of(cache_bytes=limit)
        encoder(data, features=e)
        assert (encoder._cache._entry is not None) is is_cached


def test_trained_features_get_a_gradient() -> None:
    data, e = small_shop(), inputs_of('features')['features'].requires_grad_()
    encoder = encoder_of()
    (grad,) = gradients(encoder(data, features=e), [e])
    torch.testing.assert_close(grad, gradients(expected_of(encoder, {'features': e}), [e])[0])


@pytest.mark.parametrize('attention', ['graph', 'node', 'edge', 'mean'])
def test_alpha_sums_to_one(attention: str) -> None:
    data, encoder = small_shop(), encoder_of(attention=attention)
    alpha = encoder.alpha(data, **inputs_of('features'))
    assert not alpha.requires_grad
    torch.testing.assert_close(alpha.sum(dim=1), torch.ones(alpha.size(0), dtype=alpha.dtype))


def test_no_graph_propagates_nothing() -> None:
    x = torch.randn(NUM_ITEMS, 5)
    encoder = ItemGraphEncoder([], NUM_ITEMS, 5)
    assert torch.equal(encoder(small_shop(()), x, items=ITEMS), x[ITEMS])
    with pytest.raises(ValueError, match='fuses no item graphs'):
        encoder.alpha(small_shop(()), x)


def test_rebuilds_what_is_learned() -> None:
    data, e = small_shop(), inputs_of('features')['features']
    encoder = encoder_of()
    encoder.rebuild(data, e)
    assert encoder.graphs.state_dict() == {'_extra_state': {}}
    latent = ItemGraphEncoder(
        LatentGraphs(NUM_ITEMS, 5, in_channels={'image': CHANNELS}, skip_weight=0.5, k=3),
        NUM_ITEMS,
        5,
    )
    latent.rebuild(data)
    assert isinstance(latent.graphs, LatentGraphs)
    assert list(latent.graphs.get_extra_state()) == ['0']


@pytest.mark.parametrize('readout', ['last', 'mean'])
@pytest.mark.parametrize('num_layers', [0, 1, 3])
def test_convolve(num_layers: int, readout: str) -> None:
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(NUM_ITEMS, (2, 20), generator=generator)
    weight = torch.rand(20, generator=generator, dtype=torch.double)
    pair = CSRPair(edge_index, weight, (NUM_ITEMS, NUM_ITEMS))
    matrix = dense_adjacency(edge_index, weight, NUM_ITEMS, NUM_ITEMS)
    x = torch.randn(NUM_ITEMS, 3, generator=generator, dtype=torch.double)
    powers = [torch.matrix_power(matrix, layer) @ x for layer in range(num_layers + 1)]
    expected = powers[-1] if readout == 'last' else torch.stack(powers).mean(dim=0)
    torch.testing.assert_close(convolve(pair, x, num_layers, None, readout), expected)
    torch.testing.assert_close(convolve(pair, x, num_layers, ITEMS, readout), expected[ITEMS])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_layers': -1}, "'num_layers' must be an integer that is not negative"),
        ({'readout': 'first'}, "'readout' must be one of 'last', 'mean'"),
        ({'attention': 'item'}, "'mode' must be one of"),
        ({'cache_bytes': -1}, "'cache_bytes' must be an integer that is not negative"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder_of(**options)


def test_inputs_that_do_not_fit() -> None:
    data = small_shop()
    with pytest.raises(ValueError, match="'x' and 'features' are both None"):
        encoder_of()(data)
    with pytest.raises(ValueError, match="built with 'in_channels'"):
        encoder_of('x')(data, features=torch.ones(NUM_ITEMS, CHANNELS))
    latent = LatentGraphs(NUM_ITEMS, 5, in_channels={'image': CHANNELS}, skip_weight=0.5, k=3)
    with pytest.raises(ValueError, match="attention='edge' needs item graphs of the data"):
        ItemGraphEncoder(latent, NUM_ITEMS, 5, attention='edge')
