"""CLIP encoder of pictures and texts, by open_clip."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyg_mmgef.encoders._inputs import check_sequence
from pyg_mmgef.encoders._pictures import encode_pictures
from pyg_mmgef.encoders._texts import encode_in_batches
from pyg_mmgef.encoders._token_chunks import chunk_tokens, mean_by_length
from pyg_mmgef.encoders._weights import digest_of_weights
from pyg_mmgef.encoders.protocol import PathLike
from pyg_mmgef.encoders.torchvision_compat import import_torchvision
from pyg_mmgef.validate import check_choice, check_not_negative, check_positive

__all__ = ['OpenCLIPEncoder']

_CHECKPOINT_SUFFIXES = ('.pt', '.pth', '.bin', '.ckpt', '.safetensors', '.npz')


class OpenCLIPEncoder:
    r"""Encodes pictures and texts into one space with a CLIP model of open_clip.

    From *Learning Transferable Visual Models From Natural Language Supervision* (`arXiv 2103.00020
    <https://arxiv.org/abs/2103.00020>`_), by `open_clip
    <https://github.com/mlfoundations/open_clip>`_. It is an
    :class:`~pyg_mmgef.encoders.ImageEncoder` and a :class:`~pyg_mmgef.encoders.TextEncoder`.

    The vectors are the outputs of the two towers, *not* scaled to unit length:
    :class:`~pyg_mmgef.nn.EarlyFusion` normalises each modality itself. Pictures are turned upright
    and put on white before the model's own preprocessing. It needs open_clip (``pip install
    "pyg-mmgef[clip]"``).

    **Long texts.** Many descriptions are longer than the model's context (77 tokens for CLIP, of
    which two mark start and end). ``long_text='truncate'`` keeps the beginning, as open_clip's
    tokenizer does. ``long_text='average'`` cuts the text's tokens into chunks :math:`c` of 75 (the
    last may be shorter), encodes each as a text of its own and averages the vectors, weighted by
    the chunk's number of tokens :math:`n_c`:

    .. math::
        \mathbf{x} = \frac{\sum_c n_c \mathbf{x}_c}{\sum_c n_c}

    Texts that fit get the same vector either way.

    Args:
        model: Name of an open_clip architecture, or one of its ``'hf-hub:...'`` and
            ``'local-dir:...'`` forms, which bring their own weights. (default: ``'ViT-B-32'``)
        pretrained: Tag of published weights, path of a local checkpoint, or :obj:`None` for random
            weights. A tag that isn't in the local cache is downloaded by open_clip.
            (default: ``'laion2b_s34b_b79k'``)
        batch_size: Pictures or texts per forward pass. (default: ``64``)
        num_workers: Threads that read and preprocess pictures while the model runs; ``0`` means
            none. It doesn't change the vectors. (default: ``0``)
        long_text: What to do with texts longer than the context: ``'truncate'`` or ``'average'``.
            (default: ``'truncate'``)
        autocast: Type for the model's costly operations, such as ``torch.bfloat16``; :obj:`None`
            means the type of its weights. The vectors are always float32. (default: :obj:`None`)
        device: Device of the model; :obj:`None` means the CPU. (default: :obj:`None`)
        seed: Seed of random weights, used if ``pretrained`` is :obj:`None`. It doesn't change
            torch's global random state. (default: ``0``)
        cache_dir: Folder for downloaded weights; :obj:`None` means open_clip's default.
            (default: :obj:`None`)
        verbose: Whether to show a progress bar. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If the checkpoint doesn't exist, or the weights of the tag are not found
            locally and cannot be downloaded.
        ImportError: If open_clip is not installed.
        ValueError: If open_clip doesn't know the model or the tag, ``batch_size`` isn't a positive
            integer, ``num_workers`` is negative, ``long_text`` is unknown or needs tokens that the
            model's tokenizer doesn't give, or ``autocast`` isn't a half precision type.
    """

    def __init__(
        self,
        model: str = 'ViT-B-32',
        pretrained: PathLike | None = 'laion2b_s34b_b79k',
        *,
        batch_size: int = 64,
        num_workers: int = 0,
        long_text: str = 'truncate',
        autocast: torch.dtype | None = None,
        device: str | torch.device | None = None,
        seed: int = 0,
        cache_dir: PathLike | None = None,
        verbose: bool = False,
    ) -> None:
        _check_settings(batch_size, num_workers, long_text, autocast)
        open_clip = _import_open_clip()
        weights = None if pretrained is None else os.fspath(pretrained)
        _check_known(open_clip, model, weights)
        clip, preprocess, tokenizer = _build(open_clip, model, weights, seed, cache_dir)
        name = f'{model}, {f"random seed {seed}" if weights is None else Path(weights).name}'
        self._assemble(
            clip.to('cpu' if device is None else device),
            preprocess,
            tokenizer,
            name=name,
            batch_size=batch_size,
            num_workers=num_workers,
            long_text=long_text,
            autocast=autocast,
            verbose=verbose,
        )

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        preprocess: Callable[[Any], Tensor],
        tokenizer: Callable[[list[str]], Tensor],
        name: str,
        *,
        batch_size: int = 64,
        num_workers: int = 0,
        long_text: str = 'truncate',
        autocast: torch.dtype | None = None,
        device: str | torch.device | None = None,
        verbose: bool = False,
    ) -> 'OpenCLIPEncoder':
        """Wrap a model that is already built, such as one that you have fine-tuned.

        Args:
            model: An open_clip model, with ``encode_image`` and ``encode_text``. It is put into
                evaluation mode and, if ``device`` is given, moved there.
            preprocess: Turns a Pillow picture into a tensor.
            tokenizer: Turns a list of texts into a tensor of tokens.
            name: A name for the fingerprint, which also holds a digest of the weights.
            batch_size: Pictures or texts per forward pass. (default: ``64``)
            num_workers: Threads that read and preprocess pictures. (default: ``0``)
            long_text: ``'truncate'`` or ``'average'``. (default: ``'truncate'``)
            autocast: Type for the model's costly operations. (default: :obj:`None`)
            device: Device to move the model to; :obj:`None` leaves it. (default: :obj:`None`)
            verbose: Whether to show a progress bar. (default: :obj:`False`)

        Returns:
            The encoder.

        Raises:
            ValueError: If a setting isn't as described for the class.
        """
        _check_settings(batch_size, num_workers, long_text, autocast)
        encoder = cls.__new__(cls)
        encoder._assemble(
            model if device is None else model.to(device),
            preprocess,
            tokenizer,
            name=name,
            batch_size=batch_size,
            num_workers=num_workers,
            long_text=long_text,
            autocast=autocast,
            verbose=verbose,
        )
        return encoder

    def _assemble(
        self,
        model: nn.Module,
        preprocess: Callable[[Any], Tensor],
        tokenizer: Callable[[list[str]], Tensor],
        *,
        name: str,
        batch_size: int,
        num_workers: int,
        long_text: str,
        autocast: torch.dtype | None,
        verbose: bool,
    ) -> None:
        if long_text == 'average':
            _check_tokenizer(tokenizer)
        self.model: Any = model.eval()
        self.preprocess = preprocess
        self.tokenizer: Any = tokenizer
        self.name = name
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.long_text = long_text
        self.autocast = autocast
        self.verbose = verbose
        self._digest: str | None = None
        self._channels: int | None = None

    @property
    def fingerprint(self) -> str:
        """The model's name, the settings that change its output, and a digest.

        The digest covers the weights, the preprocessing and the kind of tokenizer. It is computed
        at the first access and kept.
        """
        if self._digest is None:
            self._digest = _digest(self.model, self.preprocess, self.tokenizer)
        settings = f'long_text={self.long_text}, autocast={self.autocast}'
        return f'OpenCLIPEncoder/2({self.name}, {settings}, digest={self._digest})'

    @property
    def channels(self) -> int:
        """The length of a vector, the same for pictures and texts."""
        if self._channels is None:
            self._channels = self._forward_texts(self.tokenizer([''])).size(1)
        return self._channels

    def encode_images(self, paths: Sequence[PathLike | None]) -> tuple[Tensor, Tensor]:
        """Encode one picture per path; see :class:`~pyg_mmgef.encoders.ImageEncoder`.

        Args:
            paths: Picture files, or :obj:`None` for items without a picture.

        Returns:
            The vectors, float32 of shape ``[n, channels]`` with zero rows for missing pictures, and
            a mask of the present ones, bool of shape ``[n]``. Both are on the CPU.

        Raises:
            ImportError: If Pillow is not installed.
            ValueError: If ``paths`` is a single path.
        """
        return encode_pictures(
            paths,
            self.preprocess,
            self._forward_images,
            self.channels,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            verbose=self.verbose,
        )

    def encode_texts(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """Encode one text per item; see :class:`~pyg_mmgef.encoders.TextEncoder`.

        Args:
            texts: Texts, or :obj:`None` for items without one.

        Returns:
            The vectors, float32 of shape ``[n, channels]`` with zero rows for missing texts, and a
            mask of the present ones, bool of shape ``[n]``. Both are on the CPU.

        Raises:
            ValueError: If ``texts`` is a single string.
        """
        check_sequence('texts', texts)  # Before `channels` runs the model.
        return encode_in_batches(
            texts,
            self._encode_batch,
            self.channels,
            batch_size=self.batch_size,
            longest_first=False,
            verbose=self.verbose,
        )

    def _encode_batch(self, texts: list[str]) -> Tensor:
        if self.long_text == 'truncate':
            return self._forward_texts(self.tokenizer(texts))
        chunks = chunk_tokens(
            [self.tokenizer.encode(text) for text in texts],
            self.tokenizer.context_length,
            self.tokenizer.sot_token_id,
            self.tokenizer.eot_token_id,
        )
        vectors = [self._forward_texts(part) for part in chunks.tokens.split(self.batch_size)]
        return mean_by_length(torch.cat(vectors), chunks)

    def _forward_images(self, pictures: list[Tensor]) -> Tensor:
        weight = self._weight
        pixels = torch.stack(pictures).to(weight.device, weight.dtype)
        return self._run(self.model.encode_image, pixels)

    def _forward_texts(self, tokens: Tensor) -> Tensor:
        return self._run(self.model.encode_text, tokens.to(self._weight.device))

    @torch.inference_mode()
    def _run(self, tower: Callable[..., Tensor], inputs: Tensor) -> Tensor:
        enabled = self.autocast is not None
        with torch.autocast(inputs.device.type, self.autocast, enabled=enabled):
            out = tower(inputs, normalize=False)
        return out.float().cpu()

    @property
    def _weight(self) -> Tensor:
        return next(p for p in self.model.parameters() if p.is_floating_point())

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.name})'


def _import_open_clip() -> Any:
    try:
        import_torchvision()
        import open_clip
    except ImportError as error:
        raise ImportError(
            'OpenCLIPEncoder needs open_clip; install it with: pip install "pyg-mmgef[clip]"'
        ) from error
    return open_clip


def _check_settings(
    batch_size: int, num_workers: int, long_text: str, autocast: torch.dtype | None
) -> None:
    check_positive('batch_size', batch_size)
    check_not_negative('num_workers', num_workers, integer=True)
    check_choice('long_text', long_text, ('truncate', 'average'))
    if autocast not in (None, torch.bfloat16, torch.float16):
        raise ValueError(
            f"'autocast' must be torch.bfloat16, torch.float16 or None (got {autocast!r})"
        )


def _check_tokenizer(tokenizer: object) -> None:
    needed = ('encode', 'context_length', 'sot_token_id', 'eot_token_id')
    if getattr(tokenizer, 'reduction_fn', None) is not None or not all(
        hasattr(tokenizer, name) for name in needed
    ):
        raise ValueError(
            "long_text='average' needs a tokenizer that marks a text's own tokens, as CLIP's does "
            f"(got {type(tokenizer).__name__}, or one that drops tokens); use long_text='truncate'"
        )


def _check_known(open_clip: Any, model: str, pretrained: str | None) -> None:
    if ':' in model:  # 'hf-hub:' and 'local-dir:' bring their own configuration and weights
        return
    # open_clip itself accepts 'ViT-B/32' as well as 'ViT-B-32'.
    if model.replace('/', '-') not in open_clip.list_models():
        raise ValueError(
            f"'model' must be an architecture of open_clip (got {model!r}); "
            'open_clip.list_models() lists them'
        )
    if pretrained is None or os.path.isfile(pretrained):
        return
    if os.sep in pretrained or pretrained.endswith(_CHECKPOINT_SUFFIXES):
        raise FileNotFoundError(
            f"'pretrained' names the checkpoint {pretrained!r}, which doesn't exist"
        )
    tags = open_clip.list_pretrained_tags_by_model(model.replace('/', '-'))
    # Older releases of open_clip compare tags without regard to case and punctuation.
    if re.sub(r'\W', '', pretrained.lower()) not in {re.sub(r'\W', '', t.lower()) for t in tags}:
        raise ValueError(
            f"'pretrained' must be a tag of {model!r}, a checkpoint or None (got {pretrained!r}); "
            f'its tags are {", ".join(map(repr, tags)) or "none"}'
        )


def _build(
    open_clip: Any, model: str, pretrained: str | None, seed: int, cache_dir: PathLike | None
) -> tuple[nn.Module, Any, Any]:
    cache = None if cache_dir is None else os.fspath(cache_dir)
    # Initial weights must not change the caller's random state. The model is built on the CPU, so
    # the generators of other devices aren't used.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            clip, _, preprocess = open_clip.create_model_and_transforms(
                model, pretrained=pretrained, device='cpu', cache_dir=cache
            )
            tokenizer = open_clip.get_tokenizer(model)
        except Exception as error:
            if pretrained is None and ':' not in model:
                raise
            if pretrained is not None and os.path.isfile(pretrained):
                raise ValueError(
                    f"'pretrained' names {pretrained!r}, which could not be loaded as weights of "
                    f'{model!r}: {error}'
                ) from error
            raise FileNotFoundError(
                f'the weights {pretrained!r} of {model!r} were not found locally and could not be '
                "downloaded; download them where there is a network and pass 'cache_dir' or, as "
                "'pretrained', the path of the checkpoint (pretrained=None gives random weights)"
            ) from error
    return clip, preprocess, tokenizer


def _digest(model: nn.Module, preprocess: object, tokenizer: object) -> str:
    # The reprs of torchvision's transforms name their settings; addresses change in every run.
    settings = re.sub(r' at 0x[0-9a-fA-F]+', '', repr(preprocess))
    context = getattr(tokenizer, 'context_length', None)
    return digest_of_weights(model, settings, f'{type(tokenizer).__name__} {context}')
