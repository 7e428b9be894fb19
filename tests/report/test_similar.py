import pytest
import torch

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._similar import relation_in_words, similar_products


def test_neighbours_in_each_sense(evidence: Evidence) -> None:
    (product,) = similar_products(evidence, 1)
    ids = list(evidence.run.item_ids)
    row = ids.index(product['card']['id'])
    kinds = {key: (title, cards) for title, key, cards in product['kinds']}
    z = torch.nn.functional.normalize(evidence.run.z_item, dim=1)
    cosine = z @ z[row]
    cosine[row] = -2
    title, cards = kinds['embedding']
    assert title == 'By the model'
    assert cards[0]['id'] == ids[int(cosine.argmax())]
    assert cards[0]['note'] == f'similarity {float(cosine.max()):.2f}'
    title, cards = kinds['co_interacts']
    assert title == 'Chosen by the same people (co_interacts)'
    graph = evidence.run.train['item', 'co_interacts', 'item']
    weight = torch.where(graph.edge_index[1] == row, graph.edge_weight, -1.0)
    best = graph.edge_index[0, weight == weight.max()]
    assert ids.index(cards[0]['id']) in best


@pytest.mark.parametrize(
    ('relation', 'words'),
    [('similar_text', 'Similar words (similar_text)'), ('same_brand', 'same_brand')],
)
def test_graphs_in_words(relation: str, words: str) -> None:
    assert relation_in_words(relation) == words
