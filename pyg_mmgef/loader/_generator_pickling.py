"""Pickling of random generators for worker processes that are spawned, not forked.

A generator pickles its state as a tensor. For a process that is spawned, torch moves a tensor to
shared memory, and the process opens it there. This tensor is gone by then, and the process crashes.
So for processes alone, the state is sent as bytes.
"""

from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler

import torch
from torch import Generator

__all__ = ['register_generators']


def register_generators() -> None:
    """Let generators be sent to processes that are spawned."""
    ForkingPickler.register(Generator, _reduced)


def _reduced(generator: Generator) -> tuple[Callable[..., Generator], tuple[str, bytes]]:
    return _restored, (str(generator.device), generator.get_state().numpy().tobytes())


def _restored(device: str, state: bytes) -> Generator:
    generator = torch.Generator(device)
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return generator
