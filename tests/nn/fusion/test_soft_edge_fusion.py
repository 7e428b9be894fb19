import copy
import pickle

import pytest
import torch
from torch import Tensor

from pyg_mmgef.graph import union_graphs
from pyg_mmgef.nn import ItemGraphConv, SoftEdgeFusion
from pyg_mmgef.sparse import CSRPair
from pyg_mmgef.typing import WeightedGraph
from tests.references import dense_adjacency, soft_attention, soft_fusion

MODES = ['graph', 'node', 'edge', 'mean']
LEARNED = ['graph', 'node', 'edge']
NUM_ITEMS, CHANNELS = 6, 3


def graphs() -> list[WeightedGraph]:
    """Three graphs that share some edges; the last item is isolated in all of them."""
    generator = torch.Generator().manual_seed(0)
    out = []
    for num_edges in (8, 10, 4):
        edge_index = torch.randint(NUM_ITEMS - 1, (2, num_edges), generator=generator)
        edge_index = edge_index.unique(dim=1)
        weight = torch.rand(edge_index.size(1), generator=generator, dtype=torch.double) + 0.5
        out.append((edge_index, weight))
    return out


def features() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(NUM_ITEMS, CHANNELS, generator=generator, dtype=torch.double)


def random_fusion(mode: str) -> SoftEdgeFusion:
    """A layer with random weights, as after training."""
    fusion = SoftEdgeFusion(3, mode, CHANNELS).double()
    generator = torch.Generator().manual_seed(2)
    for parameter in fusion.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return fusion


def dense_fusion(fusion: SoftEdgeFusion, x: Tensor) -> Tensor:
    """The fused matrix, from the definition of each mode."""
    matrices = [dense_adjacency(*graph, NUM_ITEMS, NUM_ITEMS) for graph in graphs()]
    if fusion.mode == 'mean':
        return soft_fusion(matrices, torch.full((3,), 1 / 3, dtype=torch.double))
    weights = [None if lin is None else lin.weight for lin in (fusion.lin_dst, fusion.lin_src)]
    return soft_fusion(matrices, soft_attention(fusion.logit, x, *weights))


@pytest.mark.parametrize('mode', LEARNED)
def test_equals_the_dense_reference(mode: str) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = random_fusion(mode)
    weight = fusion(edge_index, edge_attr, features())
    fused = dense_adjacency(edge_index, weight.detach(), NUM_ITEMS, NUM_ITEMS)
    torch.testing.assert_close(fused, dense_fusion(fusion, features()).detach())


def test_mean_is_the_plain_average() -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = SoftEdgeFusion(3, 'mean').double()
    assert list(fusion.parameters()) == []
    weight = fusion(edge_index, edge_attr)
    fused = dense_adjacency(edge_index, weight, NUM_ITEMS, NUM_ITEMS)
    torch.testing.assert_close(fused, dense_fusion(fusion, features()), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize('mode', MODES)
def test_absent_edge_weighs_nothing(mode: str) -> None:
    edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
    edge_attr = torch.tensor([[2.0, 0.0, 0.0], [0.0, 4.0, 0.0], [1.0, 1.0, 1.0]])
    fusion = SoftEdgeFusion(3, mode, CHANNELS)
    weight = fusion(edge_index, edge_attr, torch.randn(3, CHANNELS))
    torch.testing.assert_close(weight, torch.tensor([2 / 3, 4 / 3, 1.0]))
    if mode != 'mean':
        fusion.logit.data[0] = 1e4  # All attention to the first graph.
        weight = fusion(edge_index, edge_attr, torch.randn(3, CHANNELS))
        torch.testing.assert_close(weight, torch.tensor([2.0, 0.0, 1.0]))


@pytest.mark.parametrize('mode', LEARNED)
def test_starts_as_the_average(mode: str) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = SoftEdgeFusion(3, mode, CHANNELS).double()
    torch.testing.assert_close(fusion(edge_index, edge_attr, features()), edge_attr.mean(dim=1))
    fusion = random_fusion(mode)
    assert not torch.allclose(fusion(edge_index, edge_attr, features()), edge_attr.mean(dim=1))
    fusion.reset_parameters()
    torch.testing.assert_close(fusion(edge_index, edge_attr, features()), edge_attr.mean(dim=1))


@pytest.mark.parametrize('mode', MODES)
def test_alpha_sums_to_one(mode: str) -> None:
    edge_index, _ = union_graphs(graphs(), NUM_ITEMS)
    alpha = random_fusion(mode).alpha(edge_index, features())
    rows = {'graph': 1, 'mean': 1, 'node': NUM_ITEMS, 'edge': edge_index.size(1)}[mode]
    assert alpha.shape == (rows, 3)
    torch.testing.assert_close(alpha.sum(dim=1), torch.ones(rows, dtype=alpha.dtype))
    assert bool((alpha > 0).all())


@pytest.mark.parametrize('mode', LEARNED)
def test_gradient_reaches_every_parameter_from_the_start(mode: str) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = SoftEdgeFusion(3, mode, CHANNELS).double()
    fusion(edge_index, edge_attr, features()).square().sum().backward()
    for parameter in fusion.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.abs().sum() > 0)


@pytest.mark.parametrize('mode', LEARNED)
def test_gradcheck(mode: str) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = random_fusion(mode)
    names = [name for name, _ in fusion.named_parameters()]

    def run(edge_attr: Tensor, x: Tensor, *parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(fusion, state, (edge_index, edge_attr, x))

    inputs = [edge_attr, features(), *(p.detach() for p in fusion.parameters())]
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize('mode', LEARNED)
@pytest.mark.parametrize('num_layers', [1, 3])
def test_gradient_through_the_convolution_equals_dense_autograd(mode: str, num_layers: int) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    pair = CSRPair(edge_index, size=(NUM_ITEMS, NUM_ITEMS))
    fusion, conv = random_fusion(mode), ItemGraphConv()
    x = features().requires_grad_()
    weight, fused = fusion(edge_index, edge_attr, x), dense_fusion(fusion, x)
    out, expected = x, x
    for _ in range(num_layers):
        out, expected = conv(out, pair, weight), fused @ expected
    torch.testing.assert_close(out, expected)
    inputs = [x, *fusion.parameters()]
    grads = torch.autograd.grad(out.pow(3).sum(), inputs)
    torch.testing.assert_close(grads, torch.autograd.grad(expected.pow(3).sum(), inputs))


@pytest.mark.parametrize('mode', MODES)
def test_order_of_edges_does_not_matter(mode: str) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion, order = random_fusion(mode), torch.randperm(edge_index.size(1))
    weight = fusion(edge_index[:, order], edge_attr[order], features())
    torch.testing.assert_close(weight, fusion(edge_index, edge_attr, features())[order])


@pytest.mark.parametrize('mode', MODES)
def test_no_edges(mode: str) -> None:
    empty = torch.empty(2, 0, dtype=torch.long)
    edge_attr = torch.empty(0, 3, dtype=torch.double)
    assert random_fusion(mode)(empty, edge_attr, features()).shape == (0,)


@pytest.mark.parametrize('mode', MODES)
def test_one_graph_keeps_its_weights(mode: str) -> None:
    edge_index, edge_weight = graphs()[0]
    fusion = SoftEdgeFusion(1, mode, CHANNELS).double()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    torch.testing.assert_close(fusion(edge_index, edge_weight[:, None], features()), edge_weight)


@pytest.mark.parametrize('mode', MODES)
def test_meta_device(mode: str) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = random_fusion(mode).to('meta')
    weight = fusion(edge_index.to('meta'), edge_attr.to('meta'), features().to('meta'))
    assert weight.device.type == 'meta'
    assert weight.shape == edge_index.shape[1:]


@pytest.mark.parametrize('mode', MODES)
def test_compiled_equals_eager(mode: str) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = random_fusion(mode)
    torch.compiler.reset()
    compiled = torch.compile(fusion, backend='eager', fullgraph=True)
    expected = fusion(edge_index, edge_attr, features())
    torch.testing.assert_close(compiled(edge_index, edge_attr, features()), expected)


@pytest.mark.parametrize('mode', MODES)
def test_copies_compute_the_same(mode: str) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = random_fusion(mode)
    weight = fusion(edge_index, edge_attr, features())
    restored = SoftEdgeFusion(3, mode, CHANNELS).double()
    restored.load_state_dict(fusion.state_dict())
    for other in (copy.deepcopy(fusion), pickle.loads(pickle.dumps(fusion)), restored):
        assert torch.equal(other(edge_index, edge_attr, features()), weight)


@pytest.mark.parametrize('mode', MODES)
def test_exported_equals_eager(mode: str) -> None:
    inputs = (*union_graphs(graphs(), NUM_ITEMS), features())
    fusion = random_fusion(mode)
    exported = torch.export.export(fusion, inputs).module()
    torch.testing.assert_close(exported(*inputs), fusion(*inputs))


@pytest.mark.parametrize('mode', MODES)
def test_reset_after_to_empty_is_the_average(mode: str) -> None:
    with torch.device('meta'):
        fusion = SoftEdgeFusion(2, mode, CHANNELS)
    fusion.to_empty(device='cpu')
    for tensor in (*fusion.parameters(), *fusion.buffers()):
        tensor.data.fill_(99.0)
        tensor.data.view(-1)[0] = 0.0
    fusion.reset_parameters()
    alpha = fusion.alpha(torch.tensor([[0], [1]]), torch.randn(2, CHANNELS))
    assert torch.equal(alpha, torch.full_like(alpha, 0.5))


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16])
def test_result_has_the_type_of_the_weights(mode: str, dtype: torch.dtype) -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    fusion = SoftEdgeFusion(3, mode, CHANNELS)
    assert fusion(edge_index, edge_attr.to(dtype), features().float()).dtype == dtype


def test_constructor_errors() -> None:
    with pytest.raises(ValueError, match=r"'mode' must be one of .* \(got 'max'\)"):
        SoftEdgeFusion(2, 'max')
    for num_graphs in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="'num_graphs' must be a positive integer"):
            SoftEdgeFusion(num_graphs)  # type: ignore[arg-type]
    for mode in ('node', 'edge'):
        with pytest.raises(ValueError, match=f"'in_channels' is needed for mode='{mode}'"):
            SoftEdgeFusion(2, mode)


def test_forward_errors() -> None:
    edge_index, edge_attr = union_graphs(graphs(), NUM_ITEMS)
    num_edges = edge_index.size(1)
    for mode in MODES:
        with pytest.raises(ValueError, match=rf"'edge_attr' must have shape \[{num_edges}, 3\]"):
            random_fusion(mode)(edge_index, edge_attr[:, :2], features())
        with pytest.raises(ValueError, match=rf'\(got \[{num_edges}\]\)'):
            random_fusion(mode)(edge_index, edge_attr[:, 0], features())
    for mode in ('node', 'edge'):
        with pytest.raises(ValueError, match=rf"shape \[N, 3\] for mode='{mode}' \(got None\)"):
            random_fusion(mode)(edge_index, edge_attr)
        with pytest.raises(ValueError, match=r'\(got \[6, 2\]\)'):
            random_fusion(mode)(edge_index, edge_attr, features()[:, :2])
