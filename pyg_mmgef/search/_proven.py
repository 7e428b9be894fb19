"""Low-precision products choose candidates, float32 scores prove that they are the best.

The exact search of all rows, the exact queries of an index and the ranking all bound the error of
rounded products as it is done here.
"""

import time
from functools import cache

import torch
from torch import Tensor

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.search._rows import SearchRows

__all__ = [
    'HALF_SPACING',
    'SPARE',
    'ProductBound',
    'float32_rounding',
    'product_dtype',
    'round_rows',
    'row_lengths',
    'sum_rounding',
]

SPARE = 22  # Candidates beyond k: enough to prove nearly every row.
BLOCK = 2**19  # Entries rounded at a time: 2 MiB stay in the cache.
HALF_SPACING = {torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24}  # Relative rounding error.
# The same inside float32 products, by torch's name of the precision; other names mean bfloat16.
ROUNDING_INSIDE = {
    'highest': 2.0**-24,
    'ieee': 2.0**-24,
    'none': 2.0**-24,
    'high': 2.0**-11,
    'tf32': 2.0**-11,
}
# Below the root of the smallest float32 that isn't subnormal, squares and products lose digits.
TINY = 2.0**-63


class ProductBound:
    r"""A bound on the error of products of rounded rows.

    With :math:`\hat{\mathbf{x}}` a rounded row, and :math:`t` the product
    :math:`\hat{\mathbf{q}}^{\top} \hat{\mathbf{x}}_i` rounded once more, the error is at most

    .. math::
        \epsilon |t|
        + \lVert \mathbf{q} - \hat{\mathbf{q}} \rVert \max_i \lVert \hat{\mathbf{x}}_i \rVert
        + \lVert \mathbf{q} \rVert \max_i \lVert \mathbf{x}_i - \hat{\mathbf{x}}_i \rVert
        + 2 \delta \lVert \mathbf{q} \rVert \max_i \lVert \mathbf{x}_i \rVert

    by Cauchy and Schwarz, :math:`\epsilon` being the rounding of a product and :math:`\delta` that
    of a sum in float32, which counts twice: for the rounded product and for the float32 score that
    it is compared with. So no row that wasn't chosen scores above the lowest product chosen plus
    this bound, and the :obj:`k` best float32 scores are *proven* if the last of them is as high.

    Args:
        norm: Lengths of the rows that queries are compared with. Shape: ``[N]``.
        error: Lengths of their rounding errors. Shape: ``[N]``.
        channels: Number of channels.
        dtype: Precision of the products.
    """

    def __init__(self, norm: Tensor, error: Tensor, channels: int, dtype: torch.dtype) -> None:
        self.longest, self.largest_error = norm.amax(), error.amax()
        # Products in bfloat16 are summed in float32.
        self.rounding = sum_rounding(channels, torch.float32)
        if dtype == torch.float32:
            self.rounding = sum_rounding(channels, dtype, norm.device)
        # Relative to the rounded product, which may be the smaller one.
        self.spacing = HALF_SPACING[dtype] / (1 - HALF_SPACING[dtype])

    def error(self, norm: Tensor, error: Tensor) -> Tensor:
        """Return the bound for some queries, without the rounding of the product itself.

        Args:
            norm: Lengths of the queries. Shape: ``[Q]``.
            error: Lengths of their rounding errors. Shape: ``[Q]``.
        """
        return error * (self.longest + self.largest_error) + norm * (
            self.largest_error + self.rounding * self.longest
        )

    def highest(self, product: Tensor, error: Tensor) -> Tensor:
        """Return the highest exact score that a rounded product allows."""
        return product + self.spacing * product.abs() + error

    def lowest(self, product: Tensor, error: Tensor) -> Tensor:
        """Return the lowest exact score that a rounded product allows."""
        return product - self.spacing * product.abs() - error


def sum_rounding(channels: int, dtype: torch.dtype, device: torch.device | None = None) -> float:
    """Return by how much two sums of the same products differ, relative to the rows' lengths.

    Args:
        channels: Number of products; the error of a sum grows with it.
        dtype: Precision of the sum, float32 or float64.
        device: Device where one of the sums is a dense product, which may round its factors;
            :obj:`None` where none is. (default: :obj:`None`)
    """
    half_spacing = torch.finfo(dtype).eps / 2
    rounding = 2 * (channels + 8) * half_spacing
    if device is not None and dtype == torch.float32:
        inside = float32_rounding(device)
        rounding += 4 * inside if inside > half_spacing else 0
    return rounding


def row_lengths(exact: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """Return upper bounds of the lengths of rows and of their rounding errors."""
    floor = TINY * exact.size(1) ** 0.5  # Squares that underflow hide no more.
    norm = torch.linalg.vector_norm(exact, dim=1).add_(floor)
    return norm, torch.linalg.vector_norm(exact - low, dim=1).add_(floor)


def round_rows(features: SearchRows, low: Tensor) -> tuple[Tensor, Tensor]:
    """Write the rounded rows to :obj:`low` and return their :func:`row_lengths`."""
    norm, error = features.x.new_empty(2, features.num_items)
    size = max(1, BLOCK // features.channels)

    def round_block(start: int) -> None:
        rows = slice(start, start + size)
        exact = features[rows]
        low[rows] = exact
        norm[rows], error[rows] = row_lengths(exact, low[rows])

    blocks = range(0, features.num_items, size)
    run_jobs(round_block, blocks, concurrent=features.device.type == 'cpu')
    return norm, error


@cache
def product_dtype(device: torch.device) -> torch.dtype:
    """Return the precision of fast products on a device: bfloat16 if it is faster, else float32.

    A CPU is measured for a few milliseconds, once per process: not every one that supports bfloat16
    multiplies it faster.
    """
    if device.type != 'cpu':
        return torch.float32
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(512, 512, dtype=dtype, device=device)
        out = torch.empty_like(x)
        trials = []
        for _ in range(4):
            start = time.perf_counter()
            torch.mm(x, x.t(), out=out)
            trials.append(time.perf_counter() - start)
        seconds[dtype] = min(trials)
    return min(seconds, key=seconds.__getitem__)


def float32_rounding(device: torch.device) -> float:
    """Return the relative rounding error inside torch's products of float32.

    It is more than that of float32 where TF32 or bfloat16 is allowed inside of products, by
    :func:`torch.set_float32_matmul_precision` or by the ``fp32_precision`` of
    ``torch.backends``, of a backend or of its products.
    """
    backend = torch.backends.cuda if device.type == 'cuda' else torch.backends.mkldnn
    # What was set for all of torch, or by the older function, is also found there. Torch before 2.9
    # has the older function alone, and it raises once the newer settings have been used.
    precision = getattr(getattr(backend, 'matmul', None), 'fp32_precision', None)
    if precision is None:
        precision = torch.get_float32_matmul_precision()
    return ROUNDING_INSIDE.get(precision, 2.0**-8)
