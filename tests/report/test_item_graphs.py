import torch

from pyg_mmgef.report._item_graphs import item_graphs
from tests.nn.models.shops import interacting

SIMILAR = 'Similar pictures and words (similar)'


def test_by_hand() -> None:
    data = interacting(torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 3]]), 3, 5)
    # 0 and 1 share user 0, 1 and 2 user 1; 3 and 4 share nobody with the others.
    data['item', 'similar', 'item'].edge_index = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 0, 0, 0]])
    data['item', 'similar', 'item'].edge_weight = torch.ones(5)
    data['item'].x_image = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1], [0, 0]])
    data['item'].has_image = torch.tensor([True, True, True, True, False])
    data['item'].x_text = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [1, 0.2], [0.1, 1]])
    found = {(graph, what): count for graph, what, count in item_graphs(data, k=1)}
    assert found[SIMILAR, 'connections'] == '5'
    assert found[SIMILAR, 'products without neighbours'] == '2'
    assert found[SIMILAR, 'neighbours per product'] == '1.0, most 3'
    assert found[SIMILAR, 'connections between products of one person'] == '60\u00a0%'
    # Nearest by image: 0-1, 1-0, 2-3, 3-2; by text 0-1, 1-0 (or 3), 2-4, 3-1.
    words = 'of the 1 nearest by image, also among the 1 nearest by text'
    assert found['image, text', words] in ('25\u00a0%', '50\u00a0%')


def test_no_interactions_and_no_edges() -> None:
    data = interacting(torch.empty(2, 0, dtype=torch.long), 2, 3)
    data['item', 'similar', 'item'].edge_index = torch.tensor([[0], [1]])
    data['item', 'similar', 'item'].edge_weight = torch.ones(1)
    rows = item_graphs(data, k=1)
    assert (SIMILAR, 'connections between products of one person', '0\u00a0%') in rows
    data['item', 'similar', 'item'].edge_index = torch.empty(2, 0, dtype=torch.long)
    assert (SIMILAR, 'connections', '0') in item_graphs(data, k=1)
