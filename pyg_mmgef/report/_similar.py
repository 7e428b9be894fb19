"""Some products and those that are similar to them."""

from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.runs.run import Run
from pyg_mmgef.search import similar_items

__all__ = ['relation_in_words', 'similar_products']

SHOWN = 6
RELATIONS = {
    'similar': 'Similar pictures and words',
    'similar_image': 'Similar pictures',
    'similar_text': 'Similar words',
    'co_interacts': 'Chosen by the same people',
}


def relation_in_words(relation: str) -> str:
    """Return what an item graph connects, with its name in the data.

    Example:
        >>> relation_in_words('similar_image'), relation_in_words('same_brand')
        ('Similar pictures (similar_image)', 'same_brand')
    """
    return f'{RELATIONS[relation]} ({relation})' if relation in RELATIONS else relation


def similar_products(evidence: Evidence, number: int) -> list[dict[str, Any]]:
    """Return some products, sampled from all, with the most similar ones in each sense.

    Args:
        evidence: The cards.
        number: Number of products.
    """
    rows = evidence.sample(evidence.num_items, number).tolist()
    return [_product(evidence, row) for row in rows]


def _product(evidence: Evidence, row: int) -> dict[str, Any]:
    run = evidence.run
    cards = evidence.cards
    kinds = []
    if run.has_embeddings:
        near = [cards(other, f'similarity {value:.2f}') for other, value in _by_embedding(run, row)]
        kinds.append(('By the model', 'embedding', near))
    for source, relation, destination in run.train.edge_types:
        if source == destination:
            store = run.train[source, relation, destination]
            near = list(map(cards, _strongest(store.edge_index, store.edge_weight, row)))
            kinds.append((relation_in_words(relation), relation, near))
    return {'card': cards(row), 'kinds': kinds}


def _by_embedding(run: Run, row: int) -> list[tuple[int, float]]:
    cosine, found = similar_items(run.z_item, torch.tensor([row]), SHOWN)
    pairs = zip(found[0].tolist(), cosine[0].tolist(), strict=True)
    return [(other, value) for other, value in pairs if other >= 0]


def _strongest(edge_index: Tensor, edge_weight: Tensor, row: int) -> list[int]:
    incoming = (edge_index[1] == row).nonzero().view(-1)
    order = incoming[edge_weight[incoming].argsort(descending=True, stable=True)[:SHOWN]]
    return edge_index[0, order].tolist()
