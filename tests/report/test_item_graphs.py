import torch

from pyg_mmgef.cli.graph_statistics import graph_statistics
from tests.nn.models.shops import interacting


def test_by_hand() -> None:
    data = interacting(torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 3]]), 3, 5)
    # 0 and 1 share user 0, 1 and 2 user 1; 3 and 4 share nobody with the others.
    data['item', 'similar', 'item'].edge_index = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 0, 0, 0]])
    data['item', 'similar', 'item'].edge_weight = torch.ones(5)
    data['item'].x_image = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1], [0, 0]])
    data['item'].has_image = torch.tensor([True, True, True, True, False])
    data['item'].x_text = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [1, 0.2], [0.1, 1]])
    found = {(graph, what): count for graph, what, count in graph_statistics(data, k=1)}
    assert found['similar', 'edges'] == '5'
    assert found['similar', 'items without neighbours'] == '2'
    assert found['similar', 'neighbours per item'] == '1.0, most 3'
    assert found['similar', 'edges between items with a common user'] == '60.0%'
    # Nearest by image: 0-1, 1-0, 2-3, 3-2; by text 0-1, 1-0 (or 3), 2-4, 3-1.
    words = 'of the 1 nearest by image, also among the 1 nearest by text'
    assert found['image, text', words] in ('25.0%', '50.0%')


def test_no_interactions_and_no_edges() -> None:
    data = interacting(torch.empty(2, 0, dtype=torch.long), 2, 3)
    data['item', 'similar', 'item'].edge_index = torch.tensor([[0], [1]])
    data['item', 'similar', 'item'].edge_weight = torch.ones(1)
    rows = graph_statistics(data, k=1)
    assert ('similar', 'edges between items with a common user', '0.0%') in rows
    data['item', 'similar', 'item'].edge_index = torch.empty(2, 0, dtype=torch.long)
    assert ('similar', 'edges', '0') in graph_statistics(data, k=1)
