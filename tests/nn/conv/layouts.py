"""One graph in every layout that a layer takes, and the contract that all convolutions keep."""

import copy
import io
import pickle
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from pyg_mmgef.nn.conv import weighted_sum_conv
from pyg_mmgef.nn.conv.weighted_sum_conv import WeightedSumConv
from pyg_mmgef.sparse import CSRPair
from tests.references import dense_adjacency

LAYOUTS = ['edge_index', 'csr', 'csc', 'coo', 'sorted by row', 'sorted by col', 'unsorted']


def random_graph(size: tuple[int, int], num_edges: int = 14) -> tuple[Tensor, Tensor]:
    """A graph whose last source and last destination are isolated, with one edge twice."""
    generator = torch.Generator().manual_seed(0)
    ends = [torch.randint(n - 1, (num_edges,), generator=generator) for n in size]
    edge_index = torch.stack(ends)
    edge_index[:, -1] = edge_index[:, 0]
    return edge_index, torch.rand(num_edges, generator=generator, dtype=torch.double) + 0.5


def in_layout(
    layout: str, edge_index: Tensor, edge_weight: Tensor | None, size: tuple[int, int]
) -> tuple[Any, Tensor | None]:
    """Return the graph in a layout, and the edge weights if they stay an argument."""
    if layout == 'edge_index':
        return edge_index, edge_weight
    if layout == 'unsorted':
        return EdgeIndex(edge_index, sparse_size=size), edge_weight
    if layout.startswith('sorted by '):
        order = edge_index[0 if layout == 'sorted by row' else 1].argsort(stable=True)
        graph = EdgeIndex(edge_index[:, order], sparse_size=size, sort_order=layout[-3:])
        return graph, None if edge_weight is None else edge_weight[order]
    if edge_weight is None:
        edge_weight = torch.ones(edge_index.size(1), dtype=torch.double)
    if layout == 'sparse_tensor':
        from torch_sparse import SparseTensor

        return SparseTensor(
            row=edge_index[1], col=edge_index[0], value=edge_weight, sparse_sizes=size[::-1]
        ), None
    adj_t = torch.sparse_coo_tensor(edge_index.flip(0), edge_weight, size[::-1]).coalesce()
    if layout == 'csr':
        return adj_t.to_sparse_csr(), None
    return adj_t.to_sparse_csc() if layout == 'csc' else adj_t, None


@pytest.mark.filterwarnings('ignore:Converting sparse tensor to CSR')  # PyG, for 'coo'.
class ConvContract:
    """What every convolution does; a test class names the layer, the sizes and the oracle."""

    conv_class: ClassVar[type[WeightedSumConv]]
    size: ClassVar[tuple[int, int]]

    def normalized(self, adjacency: Tensor) -> Tensor:
        raise NotImplementedError

    def conv(self, normalize: bool, **kwargs: Any) -> WeightedSumConv:
        return self.conv_class(normalize=normalize, **kwargs)

    def features(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1)
        x_src, x_dst = (
            torch.randn(n, 3, generator=generator, dtype=torch.double) for n in self.size
        )
        return x_src.requires_grad_(), x_dst

    def check(
        self,
        normalize: bool,
        layout: str,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Compare output and gradient of a layer with the dense matrix."""
        dense = dense_adjacency(edge_index, edge_weight, *self.size)
        dense = self.normalized(dense) if normalize else dense
        x_src, x_dst = self.features()
        graph, weight = in_layout(layout, edge_index, edge_weight, self.size)
        x = (x_src, x_dst if size is None else None)
        out = self.conv(normalize)(x, graph, weight, size=size)
        tol = 1e-12
        torch.testing.assert_close(out, dense @ x_src, rtol=tol, atol=tol)
        (grad,) = torch.autograd.grad(out, x_src, grad_outputs=out.detach() + 1)
        torch.testing.assert_close(grad, dense.t() @ (out.detach() + 1), rtol=tol, atol=tol)

    @pytest.mark.parametrize('weighted', [False, True])
    @pytest.mark.parametrize('normalize', [False, True])
    @pytest.mark.parametrize('layout', LAYOUTS)
    def test_every_layout_equals_the_dense_oracle(
        self, layout: str, normalize: bool, weighted: bool
    ) -> None:
        edge_index, edge_weight = random_graph(self.size)
        self.check(normalize, layout, edge_index, edge_weight if weighted else None)

    @pytest.mark.parametrize('normalize', [False, True])
    def test_ids_may_be_int32(self, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        x_src, x_dst = self.features()
        conv = self.conv(normalize)
        expected = conv((x_src, x_dst), edge_index, edge_weight)
        out = conv((x_src, x_dst), edge_index.int(), edge_weight)
        torch.testing.assert_close(out, expected)
        grad, exact = (torch.autograd.grad(z.square().sum(), x_src)[0] for z in (out, expected))
        torch.testing.assert_close(grad, exact)

    @pytest.mark.sparse
    @pytest.mark.parametrize('weighted', [False, True])
    @pytest.mark.parametrize('normalize', [False, True])
    def test_sparse_tensor_equals_the_dense_oracle(self, normalize: bool, weighted: bool) -> None:
        pytest.importorskip('torch_sparse')
        edge_index, edge_weight = random_graph(self.size)
        self.check(normalize, 'sparse_tensor', edge_index, edge_weight if weighted else None)

    @pytest.mark.sparse
    def test_sparse_tensor_without_values_has_ones(self) -> None:
        torch_sparse = pytest.importorskip('torch_sparse')
        edge_index, _ = random_graph(self.size)
        edge_index = edge_index.unique(dim=1)
        x_src, x_dst = self.features()
        adj_t = torch_sparse.SparseTensor(
            row=edge_index[1], col=edge_index[0], sparse_sizes=self.size[::-1]
        )
        for normalize in (False, True):
            conv = self.conv(normalize)
            expected = conv((x_src, x_dst), edge_index)
            torch.testing.assert_close(conv((x_src, x_dst), adj_t), expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.sparse
    def test_sparse_tensor_refuses_edge_weight(self) -> None:
        pytest.importorskip('torch_sparse')
        edge_index, edge_weight = random_graph(self.size)
        adj_t, _ = in_layout('sparse_tensor', edge_index, edge_weight, self.size)
        for normalize in (False, True):
            with pytest.raises(ValueError, match="'edge_weight' must be None"):
                self.conv(normalize)(self.features(), adj_t, edge_weight)

    @pytest.mark.parametrize('layout', LAYOUTS)
    @pytest.mark.parametrize('normalize', [False, True])
    def test_no_edges_give_zeros(self, layout: str, normalize: bool) -> None:
        empty = torch.empty(2, 0, dtype=torch.long)
        for edge_weight in (None, torch.empty(0, dtype=torch.double)):
            self.check(normalize, layout, empty, edge_weight)

    @pytest.mark.parametrize('layout', [*LAYOUTS, 'csr_pair'])
    def test_isolated_nodes_receive_zeros(self, layout: str) -> None:
        edge_index, edge_weight = random_graph(self.size)
        graph: Any
        if layout == 'csr_pair':
            graph, weight = CSRPair(edge_index, edge_weight, self.size), None
        else:
            graph, weight = in_layout(layout, edge_index, edge_weight, self.size)
        x_src, x_dst = self.features()
        out = self.conv(normalize=False)((x_src, x_dst), graph, weight)
        assert out.shape == (self.size[1], 3)
        assert torch.equal(out[-1], torch.zeros(3, dtype=torch.double))
        out.sum().backward()
        assert x_src.grad is not None
        assert torch.equal(x_src.grad[-1], torch.zeros(3, dtype=torch.double))

    @pytest.mark.parametrize('sort_order', ['row', 'col'])
    def test_edge_index_that_does_not_know_its_size(self, sort_order: str) -> None:
        edge_index, _ = random_graph(self.size)
        order = edge_index[0 if sort_order == 'row' else 1].argsort(stable=True)
        graph = EdgeIndex(edge_index[:, order], sort_order=sort_order)  # The last nodes are unseen.
        # Asked first, since a wrong pointer makes the product read memory that isn't its own.
        assert CSRPair(graph, size=self.size).num_incoming.shape == (self.size[1],)
        x_src, x_dst = self.features()
        conv = self.conv(normalize=True)
        expected = conv((x_src, x_dst), edge_index)
        torch.testing.assert_close(conv((x_src, x_dst), graph), expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize('replace_weight', [False, True])
    def test_csr_pair_equals_the_dense_oracle(self, replace_weight: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        fixed = torch.ones_like(edge_weight) if replace_weight else edge_weight
        pair = CSRPair(edge_index, fixed, self.size)
        x_src, x_dst = self.features()
        weight = edge_weight.requires_grad_() if replace_weight else None
        dense = dense_adjacency(edge_index, edge_weight, *self.size)
        expected = dense @ x_src
        conv = self.conv(normalize=False)
        for x in ((x_src, x_dst), (x_src, None)):
            out = conv(x, pair, weight)
            torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
            inputs = (x_src, weight) if weight is not None else (x_src,)
            grads = torch.autograd.grad(out.square().sum(), inputs)
            exact = torch.autograd.grad(expected.square().sum(), inputs, retain_graph=True)
            torch.testing.assert_close(grads, exact, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize('layout', ['edge_index', 'sorted by row', 'sorted by col', 'unsorted'])
    @pytest.mark.parametrize('normalize', [False, True])
    def test_edge_weight_gets_its_gradient(self, layout: str, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        edge_weight.requires_grad_()
        x_src, x_dst = self.features()
        dense = dense_adjacency(edge_index, edge_weight, *self.size)
        dense = self.differentiable_normalized(dense) if normalize else dense
        (exact,) = torch.autograd.grad((dense @ x_src).square().sum(), edge_weight)
        graph, weight = in_layout(layout, edge_index, edge_weight, self.size)
        out = self.conv(normalize)((x_src, x_dst), graph, weight)
        (grad,) = torch.autograd.grad(out.square().sum(), edge_weight)
        torch.testing.assert_close(grad, exact, rtol=1e-10, atol=1e-10)

    def differentiable_normalized(self, adjacency: Tensor) -> Tensor:
        """The oracle again, with a gradient; it reads its degrees as numbers."""
        raise NotImplementedError

    def test_gradient_stays_finite_where_weights_are_zero(self) -> None:
        edge_weight = torch.tensor([0.0, 1.0], requires_grad=True)
        x_src, x_dst = self.features()
        out = self.conv(normalize=True)((x_src, x_dst), torch.tensor([[0, 1], [1, 0]]), edge_weight)
        (grad,) = torch.autograd.grad(out.sum(), edge_weight)
        assert bool(torch.isfinite(grad).all())

    @pytest.mark.parametrize('normalize', [False, True])
    def test_order_of_edges_does_not_matter(self, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        order = torch.randperm(edge_weight.numel(), generator=torch.Generator().manual_seed(2))
        assert not torch.equal(edge_index[:, order], edge_index)
        conv, x = self.conv(normalize), self.features()
        out = conv(x, edge_index, edge_weight)
        torch.testing.assert_close(conv(x, edge_index[:, order], edge_weight[order]), out)
        if not normalize:
            pair = CSRPair(edge_index[:, order], edge_weight[order], self.size)
            torch.testing.assert_close(conv(x, pair), out)

    @pytest.mark.parametrize('layout', LAYOUTS)
    @pytest.mark.parametrize('normalize', [False, True])
    def test_destination_features_may_be_left_out(self, layout: str, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        self.check(normalize, layout, edge_index, edge_weight, size=self.size)
        if layout != 'edge_index':  # The others know their size.
            graph, weight = in_layout(layout, edge_index, edge_weight, self.size)
            x_src, x_dst = self.features()
            conv = self.conv(normalize)
            without = conv((x_src, None), graph, weight)
            torch.testing.assert_close(without, conv((x_src, x_dst), graph, weight))

    @pytest.mark.parametrize('normalize', [False, True])
    def test_gradcheck_on_edge_index(self, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        x_src, x_dst = self.features()
        conv = self.conv(normalize)
        assert torch.autograd.gradcheck(
            lambda x, weight: conv((x, x_dst), edge_index, weight),
            (x_src, edge_weight.requires_grad_()),
        )

    def test_gradcheck_on_csr_pair(self) -> None:
        edge_index, edge_weight = random_graph(self.size)
        x_src, _ = self.features()
        conv = self.conv(normalize=False)
        pair = CSRPair(edge_index, edge_weight, self.size)
        assert torch.autograd.gradcheck(lambda x: conv((x, None), pair), (x_src,))
        assert torch.autograd.gradcheck(
            lambda x, weight: conv((x, None), pair, weight),
            (x_src, edge_weight.clone().requires_grad_()),
        )

    @pytest.mark.parametrize('normalize', [False, True])
    def test_meta_device(self, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        x_src, x_dst = (x.to('meta') for x in self.features())
        for weight in (None, edge_weight.to('meta')):
            out = self.conv(normalize)((x_src, x_dst), edge_index.to('meta'), weight)
            assert out.device.type == 'meta'
            assert out.shape == (self.size[1], 3)

    @pytest.mark.parametrize('normalize', [False, True])
    def test_copies_compute_the_same(self, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        conv, x = self.conv(normalize), self.features()
        out = conv(x, edge_index, edge_weight)
        restored = self.conv(normalize)
        assert conv.state_dict() == {}
        restored.load_state_dict(conv.state_dict())
        buffer = io.BytesIO()
        torch.save(conv, buffer)
        buffer.seek(0)
        for other in (
            copy.deepcopy(conv),
            pickle.loads(pickle.dumps(conv)),
            torch.load(buffer, weights_only=False),
            restored,
        ):
            assert other.normalize is normalize
            assert torch.equal(other(x, edge_index, edge_weight), out)

    @pytest.mark.parametrize('normalize', [False, True])
    def test_compiled_equals_eager(self, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        conv, x = self.conv(normalize), self.features()
        torch.compiler.reset()
        compiled = torch.compile(conv, backend='eager', fullgraph=True)
        for weight in (None, edge_weight):
            out = conv(x, edge_index, weight)
            torch.testing.assert_close(compiled(x, edge_index, weight), out)
            (grad,) = torch.autograd.grad(out.square().sum(), x[0])
            again = compiled(x, edge_index, weight).square().sum()
            torch.testing.assert_close(torch.autograd.grad(again, x[0])[0], grad)

    @pytest.mark.parametrize('backend', ['eager', 'aot_eager'])
    @pytest.mark.parametrize('weighted', [False, True])
    @pytest.mark.parametrize('num_sets', [None, 2])
    def test_compiled_with_a_csr_pair(
        self, num_sets: int | None, weighted: bool, backend: str
    ) -> None:
        """Without a graph break, and with the gradients of features and weights."""
        edge_index, fixed = random_graph(self.size)
        pair = CSRPair(edge_index, fixed, self.size)
        shape = (self.size[0], 3) if num_sets is None else (num_sets, self.size[0], 3)
        x = torch.randn(shape, dtype=torch.double, requires_grad=True)
        weight = fixed.flip(0).double().requires_grad_() if weighted else None
        inputs = [x] if weight is None else [x, weight]
        conv = self.conv(False)

        def run(layer: Any) -> list[Tensor]:
            x_dst = x.new_zeros(*shape[:-2], self.size[1], 3)
            out = layer((x, x_dst), pair, weight)
            return [out, *torch.autograd.grad(out.square().sum(), inputs)]

        torch.compiler.reset()
        compiled = torch.compile(conv, backend=backend, fullgraph=True)
        for found, expected in zip(run(compiled), run(conv), strict=True):
            torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
    def test_compiled_with_a_csr_pair_in_fewer_digits(self, dtype: torch.dtype) -> None:
        pair = CSRPair(*random_graph(self.size), self.size)
        x = torch.randn(self.size[0], 3).to(dtype)
        conv = self.conv(False)
        torch.compiler.reset()
        compiled = torch.compile(conv, backend='eager', fullgraph=True)
        inputs = (x, x.new_zeros(self.size[1], 3)), pair
        assert compiled(*inputs).dtype == dtype
        torch.testing.assert_close(compiled(*inputs), conv(*inputs))

    def test_compiled_reads_the_pair_that_it_is_given(self) -> None:
        edge_index, edge_weight = random_graph(self.size)
        first = CSRPair(edge_index, edge_weight, self.size)
        second = CSRPair(edge_index, 2 * edge_weight, self.size)
        x = torch.randn(self.size[0], 3)
        conv = self.conv(False)
        torch.compiler.reset()
        compiled = torch.compile(conv, backend='eager', fullgraph=True)
        x_dst = x.new_zeros(self.size[1], 3)
        torch.testing.assert_close(
            compiled((x, x_dst), second), 2 * compiled((x, x_dst), first).clone()
        )

    @pytest.mark.parametrize('normalize', [False, True])
    def test_exported_equals_eager(self, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        conv, x = self.conv(normalize), tuple(x.detach() for x in self.features())
        exported = torch.export.export(conv, (x, edge_index, edge_weight)).module()
        torch.testing.assert_close(
            exported(x, edge_index, edge_weight), conv(x, edge_index, edge_weight)
        )

    @pytest.mark.parametrize('layout', [*LAYOUTS, 'csr_pair'])
    @pytest.mark.parametrize('normalize', [False, True])
    def test_several_features_on_one_graph(self, layout: str, normalize: bool) -> None:
        if layout == 'csr_pair' and normalize:
            pytest.skip('its weights are fixed')
        edge_index, edge_weight = random_graph(self.size)
        graph: Any = CSRPair(edge_index, edge_weight, self.size)
        weight = None
        if layout != 'csr_pair':
            graph, weight = in_layout(layout, edge_index, edge_weight, self.size)
        x = torch.randn(2, self.size[0], 3, dtype=torch.double, requires_grad=True)
        x_dst = torch.zeros(2, self.size[1], 3, dtype=torch.double)
        conv = self.conv(normalize)
        out = conv((x, x_dst), graph, weight)
        expected = torch.stack([conv((row, x_dst[0]), graph, weight) for row in x])
        torch.testing.assert_close(out, expected)
        grads = [torch.autograd.grad(z.pow(3).sum(), x)[0] for z in (out, expected)]
        torch.testing.assert_close(*grads)

    def test_one_side_of_size_may_be_unknown(self) -> None:
        edge_index, _ = random_graph(self.size)
        x_src, x_dst = self.features()
        conv = self.conv(normalize=False)
        expected = conv((x_src, x_dst), edge_index)
        assert torch.equal(conv((x_src, x_dst), edge_index, size=(self.size[0], None)), expected)
        assert torch.equal(conv((x_src, None), edge_index, size=(None, self.size[1])), expected)
        with pytest.raises(ValueError, match="'size' is missing"):
            conv((x_src, None), edge_index, size=(self.size[0], None))

    @pytest.mark.parametrize('layout', [*LAYOUTS, 'csr_pair'])
    @pytest.mark.parametrize('normalize', [False, True])
    @pytest.mark.parametrize('weight_dtype', [None, torch.float32, torch.float64])
    @pytest.mark.parametrize(
        'dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str
    )
    def test_result_has_the_type_of_x(
        self, dtype: torch.dtype, weight_dtype: torch.dtype | None, normalize: bool, layout: str
    ) -> None:
        if layout == 'csr_pair' and normalize:
            pytest.skip('its weights are fixed')
        edge_index, edge_weight = random_graph(self.size)
        edge_weight = (
            edge_weight * 16
        ).round() / 16  # Exact in float32, also where two are summed.
        given = None if weight_dtype is None else edge_weight.to(weight_dtype)
        x_src, x_dst = (x.detach().to(dtype) for x in self.features())
        graph: Any = CSRPair(edge_index, given, self.size)
        weight = None
        if layout != 'csr_pair':
            graph, weight = in_layout(layout, edge_index, given, self.size)
        out = self.conv(normalize)((x_src, x_dst), graph, weight)
        dense = dense_adjacency(edge_index, None if given is None else given.double(), *self.size)
        dense = self.normalized(dense) if normalize else dense
        assert out.dtype == dtype
        tol = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, torch.finfo(dtype).eps)
        torch.testing.assert_close(out.double(), dense @ x_src.double(), rtol=tol, atol=tol)

    def test_half_precision_counts_many_neighbours(self) -> None:
        edge_index = torch.stack([torch.zeros(1000), torch.zeros(1000)]).long()
        x_src, x_dst = (torch.ones(n, 1, dtype=torch.bfloat16) for n in self.size)
        out = self.conv(normalize=False)((x_src, x_dst), edge_index)
        assert float(out[0]) == 1000
        assert float(self.conv(normalize=True)((x_src, x_dst), edge_index)[0]) == 1

    def test_a_sorted_edge_index_is_prepared_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        edge_index, _ = random_graph(self.size)
        graph, _ = in_layout('sorted by col', edge_index, None, self.size)
        built = []

        class CountedPair(CSRPair):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                built.append(self)
                super().__init__(*args, **kwargs)

        monkeypatch.setattr(weighted_sum_conv, 'CSRPair', CountedPair)
        conv, x = self.conv(normalize=False), self.features()
        first = conv(x, graph)
        assert torch.equal(conv(x, graph), first)
        assert len(built) == 1
        conv(x, in_layout('sorted by row', edge_index, None, self.size)[0])
        assert len(built) == 2
        assert copy.deepcopy(conv)._kept is None
        conv.reset_parameters()
        assert conv._kept is None

    @pytest.mark.parametrize('layout', ['edge_index', 'sorted by col', 'csr_pair'])
    def test_an_explained_layer_sends_every_message(self, layout: str) -> None:
        edge_index, edge_weight = random_graph(self.size)
        order = edge_index[1].argsort(stable=True)
        edge_index, edge_weight = edge_index[:, order], edge_weight[order]
        graph: Any = CSRPair(edge_index, edge_weight, self.size)
        weight = None
        if layout != 'csr_pair':
            graph, weight = in_layout(layout, edge_index, edge_weight, self.size)
        mask = torch.rand(edge_weight.numel(), dtype=torch.double).requires_grad_()
        conv, x = self.conv(normalize=False), self.features()
        conv.explain, conv._edge_mask, conv._apply_sigmoid = True, mask, False
        out = conv(x, graph, weight)
        expected = self.conv(normalize=False)(x, edge_index, edge_weight * mask)
        torch.testing.assert_close(out, expected)
        assert torch.autograd.grad(out.sum(), mask)[0].any()

    @pytest.mark.device
    @pytest.mark.parametrize('layout', [*LAYOUTS, 'csr_pair'])
    def test_every_layout_on_a_device(self, layout: str, device: str) -> None:
        edge_index, edge_weight = random_graph(self.size)
        graph: Any = CSRPair(edge_index, edge_weight, self.size)
        weight = None
        if layout != 'csr_pair':
            graph, weight = in_layout(layout, edge_index, edge_weight, self.size)
        x_src, x_dst = (x.detach().to(device).requires_grad_() for x in self.features())
        weight = None if weight is None else weight.to(device)
        out = self.conv(normalize=False)((x_src, x_dst), graph.to(device), weight)
        dense = dense_adjacency(edge_index, edge_weight, *self.size).to(device)
        torch.testing.assert_close(out, dense @ x_src)
        (grad,) = torch.autograd.grad(out.sum(), x_src)
        torch.testing.assert_close(grad, dense.sum(dim=0)[:, None].expand_as(grad))

    def test_repr_tells_what_differs(self) -> None:
        layers = [self.conv(False), self.conv(True), self.conv(True, decomposed_layers=2)]
        assert len({repr(conv) for conv in layers}) == 3

    def test_repr(self) -> None:
        name = self.conv_class.__name__
        assert repr(self.conv(normalize=True)) == f'{name}(normalize=True)'
        assert repr(self.conv(normalize=False)) == f'{name}(normalize=False)'

    def test_size_is_needed_without_destination_features(self) -> None:
        edge_index, _ = random_graph(self.size)
        x_src, _ = self.features()
        with pytest.raises(ValueError, match="'size' is missing: without destination features"):
            self.conv(normalize=False)((x_src, None), edge_index)

    def test_wrong_sizes_are_refused(self) -> None:
        edge_index, edge_weight = random_graph(self.size)
        num_src, num_dst = self.size
        x_src, x_dst = self.features()
        conv = self.conv(normalize=False)
        pair = CSRPair(edge_index, edge_weight, self.size)
        adj_t, _ = in_layout('csr', edge_index, edge_weight, self.size)
        more = torch.cat([x_src, x_src])
        with pytest.raises(ValueError, match=r"'x' and 'size' don't fit"):
            conv((x_src, x_dst), edge_index, size=(num_src, num_dst + 1))
        with pytest.raises(ValueError, match=r"'x' and 'size' don't fit"):
            conv((x_src, None), edge_index, size=(num_src + 1, num_dst))
        for graph in (pair, adj_t):
            with pytest.raises(ValueError, match=rf'{2 * num_src} source rows for a graph of'):
                conv((more, None), graph)

    @pytest.mark.parametrize('layout', ['csr', 'coo', 'csr_pair'])
    def test_too_many_destination_features_are_refused(self, layout: str) -> None:
        edge_index, edge_weight = random_graph(self.size)
        graph: Any = CSRPair(edge_index, edge_weight, self.size)
        if layout != 'csr_pair':
            graph, _ = in_layout(layout, edge_index, edge_weight, self.size)
        x_src, x_dst = self.features()
        with pytest.raises(ValueError, match='size'):
            self.conv(normalize=False)((x_src, torch.cat([x_dst, x_dst])), graph)

    @pytest.mark.parametrize('layout', ['csr', 'csc', 'coo'])
    @pytest.mark.parametrize('normalize', [False, True])
    def test_sparse_layouts_refuse_edge_weight(self, layout: str, normalize: bool) -> None:
        edge_index, edge_weight = random_graph(self.size)
        adj_t, _ = in_layout(layout, edge_index, edge_weight, self.size)
        with pytest.raises(ValueError, match="'edge_weight' must be None for a sparse layout"):
            self.conv(normalize)(self.features(), adj_t, edge_weight)

    def test_csr_pair_is_not_normalized(self) -> None:
        edge_index, edge_weight = random_graph(self.size)
        pair = CSRPair(edge_index, edge_weight, self.size)
        with pytest.raises(ValueError, match="'normalize' must be False for a CSRPair"):
            self.conv(normalize=True)(self.features(), pair)

    def test_constructor_refuses_what_it_cannot_do(self) -> None:
        with pytest.raises(ValueError, match=r"'aggr' must be 'add', a weighted sum \(got 'mean'"):
            self.conv(normalize=True, aggr='mean')
        with pytest.raises(ValueError, match="'flow' must be 'source_to_target'"):
            self.conv(normalize=True, flow='target_to_source')
        with pytest.raises(ValueError, match="'node_dim' must be -2"):
            self.conv(normalize=True, node_dim=0)
        assert self.conv(normalize=True, aggr='sum', flow='source_to_target', node_dim=-2)

    @pytest.mark.parametrize('normalize', [False, True])
    def test_wrong_ids_are_refused(self, normalize: bool) -> None:
        conv, x = self.conv(normalize), self.features()
        num_src, num_dst = self.size
        for edge_index, message in (
            ([[num_src], [0]], f'source node id {num_src}, but there are only {num_src}'),
            ([[0], [num_dst]], f'destination node id {num_dst}, but there are only {num_dst}'),
            ([[-1], [0]], 'negative source node id -1'),
            ([[0], [-2]], 'negative destination node id -2'),
            ([[0], [0], [0]], r'shape \[2, E\] \(got \[3, 1\]\)'),
        ):
            # Where both ends are one set of items, its ids are simply those of nodes.
            message = message.replace('source node', '(source )?node')
            message = message.replace('destination node', '(destination )?node')
            with pytest.raises(ValueError, match=message):
                conv(x, torch.tensor(edge_index))
        with pytest.raises(ValueError, match=r'must hold integer ids \(got torch.float32\)'):
            conv(x, torch.tensor([[0.0], [1.0]]))

    @pytest.mark.parametrize('layout', ['edge_index', 'csr', 'sorted by col', 'unsorted'])
    def test_weights_without_a_degree_are_refused(self, layout: str) -> None:
        edge_index, edge_weight = random_graph(self.size)
        for value, message in ((-10.0, 'negative weights'), (float('nan'), 'NaN or infinite')):
            wrong = edge_weight.clone()
            wrong[1] = value
            graph, weight = in_layout(layout, edge_index, wrong, self.size)
            with pytest.raises(ValueError, match=message):
                self.conv(normalize=True)(self.features(), graph, weight)

    def test_negative_weights_may_be_summed(self) -> None:
        edge_index, edge_weight = random_graph(self.size)
        self.check(False, 'edge_index', edge_index, -edge_weight)

    @pytest.mark.parametrize('num_weights', [1, 3])
    @pytest.mark.parametrize(
        'normalize',
        [False, True],
    )
    def test_one_weight_an_edge(self, normalize: bool, num_weights: int) -> None:
        edge_index, _ = random_graph(self.size)
        with pytest.raises(ValueError, match=r"'edge_weight' must have shape \[14\]"):
            self.conv(normalize)(self.features(), edge_index, torch.ones(num_weights))
