"""Models in files: ``config.json``, ``model.safetensors`` and a model card."""

from pyg_mmgef.nn.pretrained._pretrained import load_pretrained, push_to_hub, save_pretrained

__all__ = ['load_pretrained', 'push_to_hub', 'save_pretrained']
