"""The catalogue of the synthetic shop: the attributes of each item, and its title."""

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.datasets.shop._drawing import COLOURS, PATTERNS, SHAPES

__all__ = ['ATTRIBUTES', 'attribute_one_hot', 'draw_attributes', 'write_title']

_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    'shape': {
        'circle': ('round', 'circular'),
        'square': ('square', 'boxy'),
        'triangle': ('triangular', 'triangle'),
        'star': ('star-shaped', 'star'),
        'heart': ('heart-shaped', 'heart'),
        'hexagon': ('hexagonal', 'honeycomb'),
        'crescent': ('crescent', 'moon-shaped'),
        'cross': ('cross-shaped', 'plus'),
    },
    'colour': {
        'red': ('red', 'scarlet'),
        'orange': ('orange', 'tangerine'),
        'yellow': ('yellow', 'lemon'),
        'green': ('green', 'emerald'),
        'teal': ('teal', 'turquoise'),
        'blue': ('blue', 'navy'),
        'purple': ('purple', 'violet'),
        'pink': ('pink', 'rose'),
    },
    'pattern': {
        'plain': ('plain', 'solid'),
        'striped': ('striped', 'stripes'),
        'dotted': ('dotted', 'polka dot'),
        'checked': ('checked', 'gingham'),
        'zigzag': ('zigzag', 'chevron'),
        'ringed': ('ringed', 'target print'),
    },
    'category': {
        'cushion': ('cushion', 'pillow'),
        'rug': ('rug', 'carpet'),
        'lamp': ('lamp', 'light'),
        'clock': ('wall clock', 'clock'),
        'tray': ('serving tray', 'tray'),
        'mirror': ('mirror', 'looking glass'),
        'bag': ('bag', 'tote'),
        'plate': ('plate', 'dish'),
        'ornament': ('ornament', 'hanging decoration'),
        'coaster': ('coaster', 'drink mat'),
    },
    'material': {
        'cotton': ('cotton', 'cotton'),
        'wool': ('wool', 'woollen'),
        'wood': ('wooden', 'oak'),
        'metal': ('metal', 'steel'),
        'glass': ('glass', 'crystal'),
        'ceramic': ('ceramic', 'stoneware'),
        'leather': ('leather', 'suede'),
        'bamboo': ('bamboo', 'rattan'),
    },
    'style': {
        'vintage': ('vintage', 'retro'),
        'modern': ('modern', 'contemporary'),
        'rustic': ('rustic', 'farmhouse'),
        'boho': ('boho', 'bohemian'),
        'nordic': ('nordic', 'scandi'),
        'industrial': ('industrial', 'loft'),
        'coastal': ('coastal', 'nautical'),
        'playful': ('playful', 'whimsical'),
    },
}

ATTRIBUTES: dict[str, tuple[str, ...]] = {name: tuple(words) for name, words in _WORDS.items()}
"""The values of each attribute. Pictures show the first three attributes, titles the others."""

_BRANDS = ('Alder', 'Birch', 'Calla', 'Dune', 'Ember', 'Fjord', 'Gale', 'Heron', 'Iris', 'Juno')
_NOISE = (
    'new',
    'gift',
    'set of 2',
    'handmade',
    'premium',
    'for home',
    'large',
    'small',
    'bestseller',
    'limited edition',
    'easy care',
    'indoor',
)

# Shops seldom say what a picture shows anyway, so titles rarely name visible attributes.
_NAMED_SHARE = {
    'shape': 0.25,
    'colour': 0.35,
    'pattern': 0.25,
    'category': 1.0,
    'material': 0.9,
    'style': 0.9,
}
_SYNONYM_SHARE = 0.25

assert ATTRIBUTES['shape'] == tuple(SHAPES)
assert ATTRIBUTES['colour'] == tuple(COLOURS)
assert ATTRIBUTES['pattern'] == tuple(PATTERNS)


def draw_attributes(num_items: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sample each item's value of each attribute. Shape: ``[num_items, len(ATTRIBUTES)]``."""
    columns = [rng.integers(len(values), size=num_items) for values in ATTRIBUTES.values()]
    return np.stack(columns, axis=1)


def attribute_one_hot(attributes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the attributes one-hot. Shape: ``[num_items, total number of values]``."""
    columns = zip(attributes.T, ATTRIBUTES.values(), strict=True)
    blocks = [np.eye(len(values), dtype=np.float32)[column] for column, values in columns]
    return np.concatenate(blocks, axis=1)


def write_title(values: dict[str, str], rng: np.random.Generator) -> str:
    """Write a title such as ``'Fjord striped woollen cushion scandi, gift'``.

    Args:
        values: The item's value of every attribute.
        rng: Random generator of the choice and order of words.

    Returns:
        The title: always the category, mostly material and style, sometimes the looks, the brand
        and sales talk.
    """
    words: dict[str, str] = {}
    for name, value in values.items():
        if rng.random() < _NAMED_SHARE[name]:
            usual, synonym = _WORDS[name][value]
            words[name] = synonym if rng.random() < _SYNONYM_SHARE else usual
    category = words.pop('category')
    adjectives = [words[name] for name in rng.permutation(list(words))]
    # Some titles end with an adjective: 'wool cushion scandi'.
    behind = [adjectives.pop()] if adjectives and rng.random() < 0.3 else []
    brand = [str(rng.choice(_BRANDS))] if rng.random() < 0.6 else []
    title = ' '.join([*brand, *adjectives, category, *behind])
    if rng.random() < 0.5:
        title += f', {rng.choice(_NOISE)}'
    return title[0].upper() + title[1:]
