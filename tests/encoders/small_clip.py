"""A CLIP of two thin layers with random weights, built in a moment."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from pyg_mmgef.encoders import OpenCLIPEncoder, import_torchvision

__all__ = ['SMALL_CLIP', 'small_clip', 'small_clip_parts']

SMALL_CLIP = {
    'embed_dim': 32,
    'vision_cfg': {'image_size': 32, 'patch_size': 8, 'width': 64, 'layers': 2, 'head_width': 32},
    'text_cfg': {'context_length': 77, 'vocab_size': 49408, 'width': 32, 'heads': 2, 'layers': 2},
}


def small_clip_parts() -> tuple[Any, Any, Any]:
    """Return the model, the preprocessing and the tokenizer, always the same."""
    if find_spec('open_clip') is None:
        pytest.skip('open_clip is not installed', allow_module_level=True)
    import_torchvision()  # or the import of open_clip fails beside a CPU build of torch
    import open_clip

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.model.CLIP(**SMALL_CLIP)
    preprocess = open_clip.image_transform(32, is_train=False)
    return model, preprocess, open_clip.get_tokenizer('ViT-B-32')


def small_clip(**settings: Any) -> OpenCLIPEncoder:
    """Return the small model as an encoder."""
    return OpenCLIPEncoder.from_model(*small_clip_parts(), name='small', **settings)
