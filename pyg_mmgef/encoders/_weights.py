"""A digest that identifies a model by its weights."""

import hashlib

import torch
from torch import nn

__all__ = ['digest_of_weights']


def digest_of_weights(model: nn.Module, *settings: str) -> str:
    """Return a short digest of a model's state and of further settings."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    for setting in settings:
        digest.update(setting.encode())
    return digest.hexdigest()[:16]
