"""A map of the catalogue: similar products are near each other."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._thumbnails import thumbnail
from pyg_mmgef.runs._run_lists import item_vectors
from pyg_mmgef.schema import item_modalities

__all__ = ['catalogue_map', 'map_positions']

WIDTH, HEIGHT, MARGIN = 1000, 640, 30
MOST_POINTS, FEWEST_POINTS, CHANNELS = 1500, 8, 50
MOST_PICTURES, PICTURE, GAP = 150, 42, 8
COLOURS = 8


def catalogue_map(evidence: Evidence) -> dict[str, Any] | None:
    """Return the points and pictures of the map, :obj:`None` where products have no vectors.

    Their vectors are those of the model, or those of their content if a model has none.
    """
    of_model = evidence.run.has_embeddings
    if not of_model and not item_modalities(evidence.run.train)[0]:
        return None
    z = evidence.run.z_item if of_model else item_vectors(evidence.run.train)
    known = z.any(dim=1).nonzero().view(-1)
    rows = known[evidence.sample(known.numel(), MOST_POINTS)].sort().values
    if rows.numel() < FEWEST_POINTS:
        return None
    at = map_positions(z[rows].float().numpy(), evidence.seed)
    legend, colour = _colours(evidence, rows.tolist())
    pictures = _pictures(evidence, rows, at)
    points = [
        {
            'x': round(float(x), 1),
            'y': round(float(y), 1),
            'colour': colour[row],
            'title': evidence.cards.titles[row],
        }
        for row, (x, y) in zip(rows.tolist(), at.tolist(), strict=True)
        if row not in pictures
    ]
    return {
        'width': WIDTH,
        'height': HEIGHT,
        'of_model': of_model,
        'category': evidence.category,
        'legend': legend,
        'points': points,
        'pictures': [{**picture, 'colour': colour[row]} for row, picture in pictures.items()],
        'num_shown': rows.numel(),
        'num_known': known.numel(),
        'num_items': evidence.num_items,
    }


def map_positions(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Return where vectors lie on the map, by t-SNE of their directions.

    Args:
        vectors: The vectors, none of them zero. Shape: ``[N, channels]``.
        seed: Seed of the projection.

    Returns:
        Positions within the margins of the map. Shape: ``[N, 2]``.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    if x.shape[1] > CHANNELS:
        x = PCA(min(CHANNELS, len(x)), random_state=seed).fit_transform(x)
    perplexity = min(30.0, (len(x) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init='pca', random_state=seed)
    with threadpool_limits(1):  # Sums of several threads would depend on their number.
        at = tsne.fit_transform(x).astype(np.float64)
    low, high = at.min(axis=0), at.max(axis=0)
    size = np.array([WIDTH, HEIGHT]) - 2 * MARGIN
    return MARGIN + (at - low) / np.where(high > low, high - low, 1) * size


def _colours(evidence: Evidence, rows: list[int]) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Return the legend, and the colour of each product: a place in it, or -1 for others."""
    if evidence.category is None:
        return [], dict.fromkeys(rows, 0)
    values = evidence.run.catalog.fields[evidence.category]
    known = [values[row] for row in rows if values[row] is not None]
    names, counts = np.unique(np.array(known, dtype=str), return_counts=True)
    order = np.argsort(-counts, kind='stable')[:COLOURS]
    place = {str(names[i]): colour for colour, i in enumerate(order)}
    legend = [{'name': name, 'colour': colour} for name, colour in place.items()]
    colour = {row: -1 if values[row] is None else place.get(values[row], -1) for row in rows}
    if -1 in colour.values():
        legend.append({'name': 'all others', 'colour': -1})
    return legend, colour


def _pictures(
    evidence: Evidence, rows: torch.Tensor, at: NDArray[np.float64]
) -> dict[int, dict[str, Any]]:
    """Return pictures that don't cover each other, of the products chosen most, by row."""
    out: dict[int, dict[str, Any]] = {}
    corners = np.clip(at - PICTURE / 2, 0, np.array([WIDTH, HEIGHT]) - PICTURE)
    placed = np.empty((0, 2))
    for place in evidence.popularity[rows].argsort(descending=True, stable=True).tolist():
        if (np.abs(placed - corners[place]) < PICTURE + GAP).all(axis=1).any():
            continue
        row = int(rows[place])
        picture = thumbnail(evidence.run.catalog.pictures[row], PICTURE, is_square=True)
        if picture is None:
            continue
        placed = np.vstack([placed, corners[place]])
        x, y = corners[place].round(1).tolist()
        out[row] = {
            'x': x,
            'y': y,
            'side': PICTURE,
            'picture': picture,
            'title': evidence.cards.titles[row],
        }
        if len(out) == MOST_PICTURES:
            break
    return out
