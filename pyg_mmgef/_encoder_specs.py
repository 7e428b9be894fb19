from pathlib import Path
from typing import Any

__all__ = ['check_encoder', 'image_encoder', 'text_encoder']

_FORMS = {
    '--image-encoder': "'small', 'open_clip:MODEL/PRETRAINED' or 'none'",
    '--text-encoder': "'small', 'open_clip:MODEL/PRETRAINED', 'sentence:NAME or folder' or 'none'",
}


def check_encoder(option: str, spec: str) -> tuple[str, str]:
    """Return the kind of an encoder, and what follows the colon; nothing is imported.

    Args:
        option: ``'--image-encoder'`` or ``'--text-encoder'``.
        spec: The encoder, see :func:`image_encoder` and :func:`text_encoder`.

    Raises:
        ValueError: If the encoder isn't known.
    """
    kind, colon, name = spec.partition(':')
    if spec in ('small', 'none'):
        return kind, name
    if colon and f"'{kind}:" in _FORMS[option]:
        if kind == 'open_clip' and not all(name.partition('/')):
            raise ValueError(
                f"{option}: an OpenCLIP encoder is 'open_clip:MODEL/PRETRAINED', such as "
                "'open_clip:ViT-B-32/laion2b_s34b_b79k', or with a checkpoint's path "
                f'(got {spec!r})'
            )
        return kind, name
    raise ValueError(f'{option} must be {_FORMS[option]} (got {spec!r})')


def image_encoder(spec: str, options: dict[str, Any]) -> Any | None:
    """Return the encoder of pictures with the given name, :obj:`None` for ``'none'``.

    Args:
        spec: ``'small'``, ``'open_clip:MODEL/PRETRAINED'`` or ``'none'``.
        options: ``batch_size``, ``device`` and ``num_workers`` for encoders that have them.

    Raises:
        ValueError: If the name isn't known.
    """
    kind, name = check_encoder('--image-encoder', spec)
    if kind == 'small':
        from pyg_mmgef.encoders import PixelEncoder

        return PixelEncoder()
    return _open_clip(name, options) if kind == 'open_clip' else None


def text_encoder(spec: str, options: dict[str, Any]) -> Any | None:
    """Return the encoder of texts with the given name, :obj:`None` for ``'none'``.

    Args:
        spec: ``'small'``, ``'open_clip:MODEL/PRETRAINED'``, ``'sentence:NAME'`` or ``'none'``. The
            small one must be fitted to the texts.
        options: ``batch_size``, ``device`` and ``num_workers`` for encoders that have them.

    Raises:
        ValueError: If the name isn't known.
    """
    kind, name = check_encoder('--text-encoder', spec)
    if kind == 'small':
        from pyg_mmgef.encoders import TitleEncoder

        return TitleEncoder()
    if kind == 'sentence':
        from pyg_mmgef.encoders import SentenceTransformerEncoder

        return SentenceTransformerEncoder(
            Path(name) if Path(name).is_dir() else name,
            batch_size=options['batch_size'],
            device=options['device'],
        )
    return _open_clip(name, options) if kind == 'open_clip' else None


def _open_clip(name: str, options: dict[str, Any]) -> Any:
    from pyg_mmgef.encoders import OpenCLIPEncoder

    model, _, pretrained = name.partition('/')
    return OpenCLIPEncoder(model, None if pretrained == 'random' else pretrained, **options)
