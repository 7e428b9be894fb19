import torch
from torch_geometric.data import HeteroData
from torch_geometric.explain import DummyExplainer, Explainer
from torch_geometric.nn import HeteroConv, SAGEConv

from pyg_mmgef.nn import BipartiteLGConv, ItemGraphConv
from pyg_mmgef.sparse import CSRPair
from tests.references import bipartite_normalized, dense_adjacency

USER_ITEM = ('user', 'interacts', 'item')
ITEM_USER = ('item', 'rev_interacts', 'user')
SIMILAR = ('item', 'similar', 'item')
INTERACTIONS = torch.tensor([[0, 1, 1, 2], [0, 0, 2, 3]])
ITEM_GRAPH = torch.tensor([[0, 1, 3], [1, 0, 2]])


def features() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        'user': torch.randn(3, 4, generator=generator).requires_grad_(),
        'item': torch.randn(5, 4, generator=generator).requires_grad_(),
    }


def test_layers_of_a_shop() -> None:
    conv = HeteroConv(
        {USER_ITEM: BipartiteLGConv(), ITEM_USER: BipartiteLGConv(), SIMILAR: ItemGraphConv()}
    )
    x = features()
    weight = torch.tensor([0.5, 2.0, 1.0], requires_grad=True)
    out = conv(
        x,
        {USER_ITEM: INTERACTIONS, ITEM_USER: INTERACTIONS.flip(0), SIMILAR: ITEM_GRAPH},
        edge_weight_dict={SIMILAR: weight},
    )
    to_item = bipartite_normalized(dense_adjacency(INTERACTIONS, None, 3, 5)).float()
    similar = dense_adjacency(ITEM_GRAPH, weight, 5, 5)
    torch.testing.assert_close(out['user'], to_item.t() @ x['item'])
    torch.testing.assert_close(out['item'], to_item @ x['user'] + similar @ x['item'])
    inputs = [x['user'], x['item'], weight]
    grads = torch.autograd.grad(out['user'].square().sum() + out['item'].square().sum(), inputs)
    user, item = to_item.t() @ x['item'], to_item @ x['user'] + similar @ x['item']
    exact = torch.autograd.grad(user.square().sum() + item.square().sum(), inputs)
    torch.testing.assert_close(grads, exact)


def test_beside_a_layer_of_pyg() -> None:
    torch.manual_seed(0)
    sage = SAGEConv((-1, -1), 4)
    conv = HeteroConv({USER_ITEM: BipartiteLGConv(), ITEM_USER: sage, SIMILAR: ItemGraphConv()})
    x = features()
    out = conv(
        x,
        {USER_ITEM: INTERACTIONS, ITEM_USER: INTERACTIONS.flip(0), SIMILAR: ITEM_GRAPH},
        edge_weight_dict={SIMILAR: torch.ones(3)},
    )
    assert {name: row.shape for name, row in out.items()} == {'user': (3, 4), 'item': (5, 4)}
    (out['user'].sum() + out['item'].sum()).backward()
    assert all(row.grad is not None and bool(row.grad.abs().sum() > 0) for row in x.values())
    assert bool(sage.lin_l.weight.grad.abs().sum() > 0)


def test_prepared_graphs_in_place_of_edge_indices() -> None:
    pair = CSRPair(INTERACTIONS, torch.tensor([0.1, 0.2, 0.3, 0.4]), (3, 5))
    conv = HeteroConv(
        {USER_ITEM: BipartiteLGConv(normalize=False), ITEM_USER: BipartiteLGConv(normalize=False)}
    )
    x = features()
    out = conv(x, {USER_ITEM: pair, ITEM_USER: pair.t()})
    dense = dense_adjacency(INTERACTIONS, torch.tensor([0.1, 0.2, 0.3, 0.4]), 3, 5)
    torch.testing.assert_close(out['item'], dense @ x['user'])
    torch.testing.assert_close(out['user'], dense.t() @ x['item'])


def test_compiles_whole() -> None:
    conv = HeteroConv(
        {USER_ITEM: BipartiteLGConv(), ITEM_USER: BipartiteLGConv(), SIMILAR: ItemGraphConv()}
    )
    x = {name: row.detach() for name, row in features().items()}
    edges = {USER_ITEM: INTERACTIONS, ITEM_USER: INTERACTIONS.flip(0), SIMILAR: ITEM_GRAPH}
    expected = conv(x, edges)
    torch.compiler.reset()
    compiled = torch.compile(conv, backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(x, edges), expected)


def test_prepared_graphs_move_with_the_data() -> None:
    data = HeteroData()
    data[USER_ITEM].pair = CSRPair(INTERACTIONS, size=(3, 5))
    assert data.to('cpu', non_blocking=True)[USER_ITEM].pair.device.type == 'cpu'
    assert data.cpu()[USER_ITEM].pair.device.type == 'cpu'
    assert data.to('meta')[USER_ITEM].pair.device.type == 'meta'


def test_explainer_over_layers() -> None:
    class Shop(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = HeteroConv({USER_ITEM: BipartiteLGConv(), SIMILAR: ItemGraphConv()})

        def forward(
            self, x: dict[str, torch.Tensor], edges: dict[tuple[str, str, str], torch.Tensor]
        ) -> torch.Tensor:
            return self.conv(x, edges)['item']

    explainer = Explainer(
        Shop(),
        DummyExplainer(),
        explanation_type='model',
        edge_mask_type='object',
        model_config={'mode': 'regression', 'task_level': 'node', 'return_type': 'raw'},
    )
    x = {name: row.detach() for name, row in features().items()}
    explanation = explainer(x, {USER_ITEM: INTERACTIONS, SIMILAR: ITEM_GRAPH})
    assert explanation[USER_ITEM].edge_mask.shape == (4,)
