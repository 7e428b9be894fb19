from pathlib import Path
from typing import Any

__all__ = ['image_encoder', 'text_encoder']

_IMAGE = "'small', 'open_clip:MODEL/PRETRAINED' or 'none'"
_TEXT = "'small', 'open_clip:MODEL/PRETRAINED', 'sentence:NAME or folder' or 'none'"


def image_encoder(spec: str, options: dict[str, Any]) -> Any | None:
    """Return the encoder of pictures with the given name, :obj:`None` for ``'none'``.

    Args:
        spec: ``'small'``, ``'open_clip:MODEL/PRETRAINED'`` or ``'none'``.
        options: ``batch_size``, ``device`` and ``num_workers`` for encoders that have them.

    Raises:
        ValueError: If the name isn't known.
    """
    if spec == 'none':
        return None
    if spec == 'small':
        from pyg_mmgef.encoders import PixelEncoder

        return PixelEncoder()
    if spec.startswith('open_clip:'):
        return _open_clip(spec, options)
    raise ValueError(f'--image-encoder must be {_IMAGE} (got {spec!r})')


def text_encoder(spec: str, options: dict[str, Any], texts: list[str | None]) -> Any | None:
    """Return the encoder of texts with the given name, :obj:`None` for ``'none'``.

    Args:
        spec: ``'small'``, ``'open_clip:MODEL/PRETRAINED'``, ``'sentence:NAME'`` or ``'none'``.
        options: ``batch_size``, ``device`` and ``num_workers`` for encoders that have them.
        texts: The texts of all items, to which the small encoder is fitted.

    Raises:
        ValueError: If the name isn't known.
    """
    if spec == 'none':
        return None
    if spec == 'small':
        from pyg_mmgef.encoders import TitleEncoder

        return TitleEncoder().fit(texts)
    if spec.startswith('open_clip:'):
        return _open_clip(spec, options)
    if spec.startswith('sentence:'):
        from pyg_mmgef.encoders import SentenceTransformerEncoder

        name = spec.removeprefix('sentence:')
        return SentenceTransformerEncoder(
            Path(name) if Path(name).is_dir() else name,
            batch_size=options['batch_size'],
            device=options['device'],
        )
    raise ValueError(f'--text-encoder must be {_TEXT} (got {spec!r})')


def _open_clip(spec: str, options: dict[str, Any]) -> Any:
    from pyg_mmgef.encoders import OpenCLIPEncoder

    model, slash, pretrained = spec.removeprefix('open_clip:').partition('/')
    if not slash or not pretrained:
        raise ValueError(
            f"an OpenCLIP encoder is 'open_clip:MODEL/PRETRAINED', such as "
            f"'open_clip:ViT-B-32/laion2b_s34b_b79k', or with a checkpoint's path (got {spec!r})"
        )
    return OpenCLIPEncoder(model, None if pretrained == 'random' else pretrained, **options)
