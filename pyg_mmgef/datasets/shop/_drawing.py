"""Product pictures: an outline, filled with a pattern in a colour, on a noisy background."""

import colorsys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ['COLOURS', 'PATTERNS', 'SHAPES', 'draw_product']

FloatArray = NDArray[np.float64]


def _turn(corners: int, start: float = -0.25) -> FloatArray:
    """Return the corners of a regular polygon in the unit circle, by default from the top."""
    angle = 2 * np.pi * (start + np.arange(corners) / corners)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _star() -> FloatArray:
    outline = _turn(10)
    outline[1::2] *= 0.42
    return outline


def _heart() -> FloatArray:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y - 2], axis=1) / 16


def _crescent() -> FloatArray:
    outer = _turn(48)
    outer = outer[outer[:, 0] < 0.35]
    # The inner rim is the outer one, mirrored and flattened.
    inner = outer[::-1] * [0.35, 1.0] + [0.22, 0.0]
    return np.concatenate([outer[np.argsort(outer[:, 1])], inner[np.argsort(-inner[:, 1])]])


def _cross() -> FloatArray:
    a, b = 0.33, 0.95
    corner = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
    return np.array([*corner, *((-x, -y) for x, y in corner)])


SHAPES: dict[str, FloatArray] = {
    'circle': _turn(48),
    'square': _turn(4, start=0.125) * 1.2,
    'triangle': _turn(3) * 1.15,
    'star': _star() * 1.1,
    'heart': _heart(),
    'hexagon': _turn(6),
    'crescent': _crescent(),
    'cross': _cross(),
}
"""Corners of each outline in the square from -1 to 1, ``y`` pointing down."""

COLOURS: dict[str, tuple[float, float, float]] = {
    'red': (0.99, 0.85, 0.80),
    'orange': (0.075, 0.90, 0.95),
    'yellow': (0.15, 0.85, 0.95),
    'green': (0.33, 0.75, 0.60),
    'teal': (0.49, 0.80, 0.65),
    'blue': (0.61, 0.80, 0.80),
    'purple': (0.76, 0.65, 0.65),
    'pink': (0.92, 0.50, 0.95),
}
"""Hue, saturation and value of each colour."""

PATTERNS: dict[str, Callable[[FloatArray, FloatArray], NDArray[np.bool_]]] = {
    'plain': lambda x, y: np.zeros(x.shape, dtype=bool),
    'striped': lambda x, y: x % 1 < 0.4,
    'dotted': lambda x, y: np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.3,
    'checked': lambda x, y: (np.floor(x) + np.floor(y)) % 2 == 0,
    'zigzag': lambda x, y: (y + np.abs(x % 2 - 1)) % 1.2 < 0.5,
    'ringed': lambda x, y: np.hypot(x, y) % 1 < 0.4,
}
"""Functions that say which points, in units of the pattern, have its second colour."""

_OVERSAMPLING = 2


def draw_product(
    shape: str, colour: str, pattern: str, size: int, rng: np.random.Generator
) -> 'Image':
    """Draw a product at a random position, size, rotation and shade, on a random background.

    Args:
        shape: One of :data:`SHAPES`.
        colour: One of :data:`COLOURS`.
        pattern: One of :data:`PATTERNS`.
        size: Height and width of the picture.
        rng: Random generator of the variation.

    Returns:
        An RGB picture.
    """
    from PIL import Image, ImageDraw
    from PIL.Image import Resampling

    canvas = size * _OVERSAMPLING
    centre = canvas * rng.uniform(0.42, 0.58, size=2)
    radius = canvas * rng.uniform(0.28, 0.40)
    rotation = rng.normal(0, 0.15)

    outline = SHAPES[shape] @ _rotation(rotation) * radius + centre
    mask = Image.new('L', (canvas, canvas))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in outline], fill=255)

    # The pattern is printed on the product: it moves, grows and turns with it.
    pixel = np.stack(np.meshgrid(np.arange(canvas), np.arange(canvas)), axis=-1)
    x, y = np.moveaxis((pixel - centre) @ _rotation(-rotation) / radius, -1, 0)
    repeats = rng.uniform(2.2, 3.2)
    phase = rng.uniform(0, 1, size=2) if pattern != 'ringed' else np.zeros(2)
    second = PATTERNS[pattern](x * repeats + phase[0], y * repeats + phase[1])

    main, accent = _shades(colour, rng)
    background = rng.uniform(0.80, 0.98) + rng.normal(0, 0.02, size=3)
    pixels = np.where(second[..., None], accent, main)
    covered = np.asarray(mask)[..., None] > 0
    pixels = np.where(covered, pixels, background)
    full = Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))
    small = np.asarray(full.resize((size, size), Resampling.BOX), dtype=np.float64)
    noisy = small + rng.normal(0, 255 * rng.uniform(0.01, 0.04), size=small.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _rotation(angle: float) -> FloatArray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def _shades(colour: str, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return the product's colour, and a paler or darker one of the same hue for its pattern."""
    hue, saturation, value = np.array(COLOURS[colour]) + rng.normal(0, [0.012, 0.05, 0.05])
    saturation, value = np.clip([saturation, value], 0.3, 1)
    if rng.random() < 0.6:
        accent = colorsys.hsv_to_rgb(hue % 1, saturation * 0.25, 1.0)
    else:
        accent = colorsys.hsv_to_rgb(hue % 1, saturation, value * 0.45)
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value)), np.array(accent)
