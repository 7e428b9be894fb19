"""A picture encoder without weights, from colours, layout and edges."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_mmgef.encoders._pictures import encode_pictures
from pyg_mmgef.encoders.protocol import PathLike
from pyg_mmgef.validate import check_not_negative, check_positive

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ['PixelEncoder']

FloatArray = NDArray[np.float32]


class PixelEncoder:
    r"""Encodes pictures by their colours, layout and edges, without any weights.

    A picture is resized to a square and described by three blocks:

    .. math::
        \mathbf{x} = \left[
        w_c \frac{\sqrt{\mathbf{c}}}{\lVert \sqrt{\mathbf{c}} \rVert},\;
        w_t \frac{\mathbf{t}}{\lVert \mathbf{t} \rVert},\;
        w_g \frac{\mathbf{g}}{\lVert \mathbf{g} \rVert} \right]

    * :math:`\mathbf{c}`, a colour histogram in HSV space: hue × saturation × value of saturated
      pixels, and only the value of greyish ones, whose hue is noise. A pixel's weight grows with
      its distance from the median colour of the picture's border, so that a large background
      doesn't dominate; the square root (Hellinger) raises small areas.
    * :math:`\mathbf{t}`, a small RGB thumbnail minus its mean: the layout.
    * :math:`\mathbf{g}`, histograms of unsigned gradient orientations, weighted by gradient
      magnitude, in the cells of a grid, minus their mean: shape and pattern. This is HOG (Dalal &
      Triggs, CVPR 2005) with one normalisation per picture instead of overlapping blocks.

    The same file always gives the same vector. Reading a picture follows
    :class:`~pyg_mmgef.encoders.ImageEncoder`: EXIF rotation applied, transparency on white,
    pictures above 67,108,864 pixels unreadable. Needs Pillow (``pip install "pyg-mmgef[cli]"``).

    Args:
        size: Height and width to which pictures are resized. (default: ``64``)
        hue_bins: Bins of the hue. (default: ``12``)
        saturation_bins: Bins of the saturation of coloured pixels. (default: ``2``)
        value_bins: Bins of the value (brightness). (default: ``3``)
        thumbnail_size: Height and width of the thumbnail. (default: ``6``)
        gradient_cells: Cells per side of the grid of gradient histograms. (default: ``4``)
        gradient_bins: Orientations per cell, over half a turn. (default: ``9``)
        colour_weight: Weight :math:`w_c`. (default: ``1.0``)
        thumbnail_weight: Weight :math:`w_t`. (default: ``0.5``)
        gradient_weight: Weight :math:`w_g`. (default: ``1.2``)
        batch_size: Pictures held in memory at a time. It doesn't change the vectors.
            (default: ``256``)
        num_workers: Threads that read pictures ahead; ``0`` means none. It doesn't change the
            vectors. (default: ``0``)
        verbose: Whether to show a progress bar. (default: :obj:`False`)

    Raises:
        ValueError: If a count isn't a positive integer, ``num_workers`` is negative, a weight is
            negative or not finite, all weights are zero, or ``thumbnail_size`` or
            ``gradient_cells`` exceeds ``size``.
    """

    _GREY_SATURATION = 0.15

    def __init__(
        self,
        size: int = 64,
        *,
        hue_bins: int = 12,
        saturation_bins: int = 2,
        value_bins: int = 3,
        thumbnail_size: int = 6,
        gradient_cells: int = 4,
        gradient_bins: int = 9,
        colour_weight: float = 1.0,
        thumbnail_weight: float = 0.5,
        gradient_weight: float = 1.2,
        batch_size: int = 256,
        num_workers: int = 0,
        verbose: bool = False,
    ) -> None:
        counts = {
            'size': size,
            'hue_bins': hue_bins,
            'saturation_bins': saturation_bins,
            'value_bins': value_bins,
            'thumbnail_size': thumbnail_size,
            'gradient_cells': gradient_cells,
            'gradient_bins': gradient_bins,
            'batch_size': batch_size,
        }
        for name, count in counts.items():
            check_positive(name, count)
        check_not_negative('num_workers', num_workers, integer=True)
        for name in ('thumbnail_size', 'gradient_cells'):
            if counts[name] > size:
                raise ValueError(
                    f"'{name}' must not exceed 'size' (got {counts[name]} and {size}); "
                    'use larger pictures or fewer cells'
                )
        self._check_weights(
            colour_weight=colour_weight,
            thumbnail_weight=thumbnail_weight,
            gradient_weight=gradient_weight,
        )
        self.size = size
        self.hue_bins = hue_bins
        self.saturation_bins = saturation_bins
        self.value_bins = value_bins
        self.thumbnail_size = thumbnail_size
        self.gradient_cells = gradient_cells
        self.gradient_bins = gradient_bins
        self.colour_weight = colour_weight
        self.thumbnail_weight = thumbnail_weight
        self.gradient_weight = gradient_weight
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.verbose = verbose

    @staticmethod
    def _check_weights(**weights: float) -> None:
        for name, weight in weights.items():
            check_not_negative(name, weight)
        if not any(weights.values()):
            raise ValueError(f'{", ".join(map(repr, weights))} are all zero; give one a weight')

    @property
    def fingerprint(self) -> str:
        """The encoder's name and every setting that changes its output."""
        return (
            f'PixelEncoder/1(size={self.size}, hsv={self.hue_bins}x{self.saturation_bins}x'
            f'{self.value_bins}, thumbnail={self.thumbnail_size}, gradient={self.gradient_cells}x'
            f'{self.gradient_bins}, weights={float(self.colour_weight)}/'
            f'{float(self.thumbnail_weight)}/{float(self.gradient_weight)})'
        )

    @property
    def channels(self) -> int:
        """The length of a picture's vector."""
        return self._colour_channels + 3 * self.thumbnail_size**2 + self._gradient_channels

    @property
    def _colour_channels(self) -> int:
        return (self.hue_bins * self.saturation_bins + 1) * self.value_bins

    @property
    def _gradient_channels(self) -> int:
        return self.gradient_cells**2 * self.gradient_bins

    def encode_images(self, paths: Sequence[PathLike | None]) -> tuple[Tensor, Tensor]:
        """Encode one picture per path; see :class:`~pyg_mmgef.encoders.ImageEncoder`.

        Args:
            paths: Picture files, or :obj:`None` for items without a picture.

        Returns:
            The vectors, float32 of shape ``[n, channels]`` with zero rows for missing pictures, and
            a mask of the present ones, bool of shape ``[n]``.

        Raises:
            ImportError: If Pillow is not installed.
            ValueError: If ``paths`` is a single path.
        """
        return encode_pictures(
            paths,
            self._squash,
            self._encode,
            self.channels,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            verbose=self.verbose,
        )

    def _encode(self, pictures: list[NDArray[np.uint8]]) -> Tensor:
        return torch.from_numpy(self._describe(np.stack(pictures)))

    def _squash(self, image: 'Image') -> NDArray[np.uint8]:
        from PIL.Image import Resampling

        return np.asarray(image.resize((self.size, self.size), Resampling.BOX), dtype=np.uint8)

    def _describe(self, pixels: NDArray[np.uint8]) -> FloatArray:
        rgb = pixels.astype(np.float32) / np.float32(255)
        blocks = [
            self.colour_weight * _unit(np.sqrt(self._colours(rgb))),
            self.thumbnail_weight * _unit(self._thumbnail(rgb)),
            self.gradient_weight * _unit(self._gradients(rgb)),
        ]
        return np.concatenate(blocks, axis=1, dtype=np.float32)

    def _colours(self, rgb: FloatArray) -> FloatArray:
        hue, saturation, value = _rgb_to_hsv(rgb)
        value_bin = _bin(value, self.value_bins)
        # Greyish pixels come after the coloured ones, in bins of their value alone.
        scaled = (saturation - self._GREY_SATURATION) / (1 - self._GREY_SATURATION)
        colour_bin = _bin(hue, self.hue_bins) * self.saturation_bins + _bin(
            scaled, self.saturation_bins
        )
        grey = saturation < self._GREY_SATURATION
        colour_bin[grey] = self.hue_bins * self.saturation_bins
        bins = colour_bin * self.value_bins + value_bin
        return _histograms(bins, self._colour_channels, _foreground(rgb))

    def _thumbnail(self, rgb: FloatArray) -> FloatArray:
        cells = _cell_of(self.size, self.thumbnail_size)
        shape = (self.thumbnail_size, self.size)
        mean = np.zeros(shape, dtype=np.float32)
        mean[cells, np.arange(self.size)] = 1
        mean /= mean.sum(axis=1, keepdims=True)
        small = np.einsum('ij,njkc,lk->nilc', mean, rgb, mean, optimize=True)
        return (small - small.mean(axis=(1, 2), keepdims=True)).reshape(len(rgb), -1)

    def _gradients(self, rgb: FloatArray) -> FloatArray:
        grey = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode='edge')
        dx = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
        dy = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
        # Half a turn: an edge from dark to bright is the same edge as from bright to dark.
        orientation = _bin((np.arctan2(dy, dx) / np.pi) % 1.0, self.gradient_bins)
        cells = _cell_of(self.size, self.gradient_cells)
        cell = cells[:, None] * self.gradient_cells + cells[None, :]
        bins = cell[None] * self.gradient_bins + orientation
        histograms = _histograms(bins, self._gradient_channels, np.hypot(dx, dy))
        # Counts are never negative; minus their mean, pictures without a common edge differ.
        return histograms - histograms.mean(axis=1, keepdims=True)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(channels={self.channels})'


def _unit(block: FloatArray) -> FloatArray:
    norm = np.linalg.norm(block, axis=1, keepdims=True)
    # A plain picture has no edges and no layout: its block stays zero instead of becoming noise.
    return np.where(norm > 1e-6, block / np.maximum(norm, 1e-6), 0)


def _bin(value: FloatArray, num_bins: int) -> NDArray[np.int64]:
    return np.clip(value * num_bins, 0, num_bins - 1).astype(np.int64)


def _cell_of(size: int, num_cells: int) -> NDArray[np.int64]:
    return np.arange(size) * num_cells // size


def _histograms(bins: NDArray[np.int64], num_bins: int, weights: FloatArray) -> FloatArray:
    """Return a weighted histogram per row, counted in a single pass."""
    num_rows = len(bins)
    flat = bins.reshape(num_rows, -1) + num_bins * np.arange(num_rows)[:, None]
    counts = np.bincount(flat.ravel(), weights.ravel(), minlength=num_rows * num_bins)
    return counts.reshape(num_rows, num_bins).astype(np.float32)


def _foreground(rgb: FloatArray) -> FloatArray:
    """Return how much each pixel differs from the border, from 0 (background) to 1."""
    border = np.concatenate([rgb[:, 0], rgb[:, -1], rgb[:, :, 0], rgb[:, :, -1]], axis=1)
    background = np.median(border, axis=1)[:, None, None]
    distance = np.linalg.norm(rgb - background, axis=-1)
    # The lower bound keeps the colour of a picture with a single colour.
    return np.maximum(distance / (distance + np.float32(0.15)), np.float32(1e-3))


def _rgb_to_hsv(rgb: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value: FloatArray = rgb.max(axis=-1)
    spread: FloatArray = value - rgb.min(axis=-1)
    safe = np.where(spread > 0, spread, 1)
    sixths = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    saturation = np.divide(spread, value, out=np.zeros_like(value), where=value > 0)
    return (sixths / 6).astype(np.float32), saturation, value
