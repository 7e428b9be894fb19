from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ['TensorCache']

Value = TypeVar('Value')


class TensorCache:
    """Caches a value built from tensors until one of them is replaced or changed in place.

    A model receives the same graph in every step of an epoch; with a cache it sorts and normalises
    that graph once, and the user hands over nothing but the data. A change in place is noticed by
    the version that torch counts for each tensor. Where that count can't be trusted, nothing is
    cached and the value is built at every call: for tensors that require a gradient, which fused
    optimisers change without counting, and for those created under :func:`torch.inference_mode`,
    which have no count.

    The cache is empty after pickling or copying, and threads may share it: each gets the value of
    its own tensors, whichever stays.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Drop the cached value."""
        self._entry: tuple[_Key, Any] | None = None

    @property
    def entry(self) -> tuple[list[Tensor], Any] | None:
        """The tensors and the cached value, if they haven't been changed since."""
        entry = self._entry
        if entry is None or entry[0].versions != [x._version for x in entry[0].tensors]:
            return None
        return entry[0].tensors, entry[1]

    def get(
        self, tensors: Sequence[Tensor], build: Callable[[], Value], *options: Hashable
    ) -> Value:
        """Return the cached value for these very tensors, or build and cache it.

        Args:
            tensors: What the value is built from.
            build: Builds the value.
            *options: What else the value depends on, such as a dtype.
        """
        key = _Key(tensors, options)
        entry = self._entry  # Read once: another thread may replace it meanwhile.
        if entry is not None and entry[0].matches(key):
            value: Value = entry[1]
            return value
        # What is first built during inference must serve a later training step as well.
        with torch.inference_mode(False):
            value = build()
        if key.is_tracked:
            self._entry = key, value
        return value

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.clear()


class _Key:
    """Tensors by identity and version, and further options."""

    def __init__(self, tensors: Sequence[Tensor], options: tuple[Hashable, ...]) -> None:
        self.tensors = list(tensors)
        self.is_tracked = not any(x.is_inference() or x.requires_grad for x in tensors)
        self.versions = [tensor._version for tensor in tensors] if self.is_tracked else []
        self.options = options

    def matches(self, other: '_Key') -> bool:
        return (
            other.is_tracked
            and self.versions == other.versions
            and self.options == other.options
            and all(_is_same(a, b) for a, b in zip(self.tensors, other.tensors, strict=True))
        )


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Return whether these are the same tensor, or the same view of one, which share a version."""
    return a is b or (
        a._base is not None
        and a._base is b._base
        and a.storage_offset() == b.storage_offset()
        and a.shape == b.shape
        and a.stride() == b.stride()
    )
