"""Features with the neighbourhood structure of real text vectors, in any number."""

import numpy as np
import torch
from torch import Tensor

# Fitted to MiniLM vectors of 1,425 pieces of music: length of the mean and total variance of unit
# vectors, spectrum (to 0.6 % of the variance), local intrinsic dimension and the share of
# neighbours that lie in the same cells of a clustering.
MEAN, VARIANCE = 0.707, 0.501
LATENT, WIDTH = 32, 1024
BRANCHES, LEVELS, DECAY, TREE = 8, 5, 0.8, 0.75


def text_like_features(num_items: int, channels: int = 512, seed: int = 0) -> Tensor:
    """Return unit vectors: a tree of topics, bent by random cosines, with a given spectrum.

    Args:
        num_items: Number of rows.
        channels: Number of columns. (default: ``512``)
        seed: Random seed. (default: ``0``)
    """
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.randn(LATENT, WIDTH, generator=generator) / LATENT**0.5
    phase = 2 * torch.pi * torch.rand(WIDTH, generator=generator)
    mix = torch.randn(WIDTH, channels, generator=generator) / WIDTH**0.5
    topics = [
        DECAY**level * torch.randn(BRANCHES ** (level + 1), LATENT, generator=generator)
        for level in range(LEVELS)
    ]
    share = (TREE / sum(DECAY ** (2 * level) for level in range(LEVELS))) ** 0.5
    popularity = torch.arange(1, BRANCHES + 1) ** -0.5

    def draw(count: int) -> Tensor:
        latent = (1 - TREE) ** 0.5 * torch.randn(count, LATENT, generator=generator)
        path = torch.zeros(count, dtype=torch.long)
        for table in topics:
            branch = torch.multinomial(popularity, count, replacement=True, generator=generator)
            path = path * BRANCHES + branch
            latent += share * table[path]
        return torch.cos(latent @ frequency + phase) @ mix

    sample = draw(20_000)
    variance, basis = torch.linalg.eigh(torch.cov(sample.t()))
    order = torch.arange(1, channels + 1)
    spectrum = (order + 0.654) ** -0.82 * torch.exp(-order / 134.5)
    scale = (VARIANCE * spectrum / spectrum.sum() / variance.flip(0).clamp(min=1e-9)).sqrt()
    rotation = torch.linalg.qr(torch.randn(channels, channels, generator=generator)).Q
    colour = basis.flip(1) * scale @ rotation
    shift = MEAN * rotation[0] - sample.mean(dim=0) @ colour
    out = torch.empty(num_items, channels)
    for rows in out.split(20_000):
        torch.add(draw(len(rows)) @ colour, shift, out=rows)
        rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return out


def local_intrinsic_dimension(x: np.ndarray, k: int = 20, sample: int = 2000) -> float:
    """Return the mean maximum likelihood estimate over a sample (Amsaleg et al., KDD 2015)."""
    import faiss

    x = np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)
    rows = np.random.default_rng(0).permutation(len(x))[:sample]
    square, _ = faiss.knn(x[rows], x, k + 1, metric=faiss.METRIC_L2)
    radius = np.sqrt(np.maximum(square[:, 1:], 1e-12))
    return float((-1 / np.log(radius[:, :-1] / radius[:, -1:]).mean(axis=1)).mean())
