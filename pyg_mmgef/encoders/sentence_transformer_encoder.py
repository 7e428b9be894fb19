"""Encoder of texts by sentence-transformers."""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.encoders._inputs import check_sequence
from pyg_mmgef.encoders._texts import encode_in_batches
from pyg_mmgef.encoders._weights import digest_of_weights
from pyg_mmgef.encoders.protocol import PathLike
from pyg_mmgef.encoders.torchvision_compat import import_torchvision
from pyg_mmgef.validate import check_positive

__all__ = ['SentenceTransformerEncoder']


class SentenceTransformerEncoder:
    r"""Encodes texts with a model of sentence-transformers, such as all-MiniLM-L6-v2.

    From *Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks* (`arXiv 1908.10084
    <https://arxiv.org/abs/1908.10084>`_), by `sentence-transformers <https://www.sbert.net>`_. It
    is a :class:`~pyg_mmgef.encoders.TextEncoder`. Texts longer than the model's ``max_seq_length``
    are truncated. Needs sentence-transformers (``pip install "pyg-mmgef[text]"``).

    Args:
        model: A model's folder, its name on the Hugging Face hub, or a
            :class:`~sentence_transformers.SentenceTransformer` that is already loaded.
        batch_size: Texts per forward pass. (default: ``64``)
        device: Device of the model; :obj:`None` means the CPU, and leaves a loaded model.
            (default: :obj:`None`)
        normalize: Whether to scale vectors to unit length. Many models, such as all-MiniLM-L6-v2,
            do so themselves. (default: :obj:`False`)
        download: Whether a model that isn't in the local cache may be downloaded.
            (default: :obj:`False`)
        verbose: Whether to show a progress bar. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If the model is neither a folder nor in the local cache and
            ``download`` is false, or if it can't be downloaded.
        ImportError: If sentence-transformers is not installed.
        ValueError: If ``batch_size`` isn't a positive integer, or ``model`` is a folder that holds
            no model.
    """

    def __init__(
        self,
        model: Any,
        *,
        batch_size: int = 64,
        device: str | torch.device | None = None,
        normalize: bool = False,
        download: bool = False,
        verbose: bool = False,
    ) -> None:
        check_positive('batch_size', batch_size)
        if isinstance(model, (str, os.PathLike)):
            self.name = Path(model).name
            self.model = _load(model, 'cpu' if device is None else str(device), download)
        else:
            if not callable(getattr(model, 'encode', None)):
                raise ValueError(
                    "'model' must be a name, a folder or a SentenceTransformer "
                    f'(got {type(model).__name__})'
                )
            self.name = type(model).__name__
            self.model = model if device is None else model.to(device)
        self.model.eval()
        self.batch_size = batch_size
        self.normalize = normalize
        self.verbose = verbose
        self._digest: str | None = None
        self._channels: int | None = None

    @property
    def fingerprint(self) -> str:
        """The model's name, the settings that change its output, and a digest.

        The digest covers the weights, modules, tokenizer, prompts and the maximum length; it is
        computed once. The fingerprint has the name of a model's folder, not its path.
        """
        if self._digest is None:
            self._digest = digest_of_weights(
                self.model,
                repr(self.model),
                _vocabulary(self.model.tokenizer),
                str(self.model.max_seq_length),
                str(getattr(self.model, 'prompts', None)),
                str(getattr(self.model, 'default_prompt_name', None)),
                str(getattr(self.model, 'truncate_dim', None)),
            )
        settings = f'normalize={self.normalize}'
        return f'SentenceTransformerEncoder/1({self.name}, {settings}, digest={self._digest})'

    @property
    def channels(self) -> int:
        """The length of a vector."""
        if self._channels is None:
            self._channels = self._forward(['a']).size(1)
        return self._channels

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
            self._forward,
            self.channels,
            batch_size=self.batch_size,
            longest_first=True,
            verbose=self.verbose,
        )

    def _forward(self, texts: list[str]) -> Tensor:
        out = self.model.encode(
            texts,
            batch_size=self.batch_size,
            convert_to_tensor=True,
            normalize_embeddings=self.normalize,
            show_progress_bar=False,
        )
        # A copy outside of inference mode, in which the library may have made it.
        return torch.empty(out.shape).copy_(out)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.name})'


def _load(model: PathLike, device: str, download: bool) -> Any:
    with contextlib.suppress(ImportError):
        import_torchvision()  # transformers imports it where it is installed
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(
            'SentenceTransformerEncoder needs sentence-transformers; install it with: '
            'pip install "pyg-mmgef[text]"'
        ) from error
    name = os.fspath(model)
    local = os.path.isdir(name)
    if (
        local
        and not os.path.isfile(os.path.join(name, 'config.json'))
        and not os.path.isfile(os.path.join(name, 'modules.json'))
    ):
        raise ValueError(
            f"'model' names the folder {name!r}, which holds neither 'modules.json' nor "
            "'config.json' of a model"
        )
    try:
        return SentenceTransformer(name, device=device, local_files_only=local or not download)
    except Exception as error:
        if local:
            raise ValueError(
                f"'model' names the folder {name!r}, from which no model could be loaded: {error}"
            ) from error
        remedy = 'and could not be downloaded' if download else 'pass download=True to fetch it'
        raise FileNotFoundError(
            f"'model' is {name!r}, neither a folder nor a model in the local cache; {remedy}"
        ) from error


def _vocabulary(tokenizer: Any) -> str:
    """Return the definition of a tokenizer, without the settings that calls change."""
    backend = getattr(tokenizer, 'backend_tokenizer', None)
    if backend is not None:
        content = json.loads(backend.to_str())
        return json.dumps({**content, 'truncation': None, 'padding': None}, sort_keys=True)
    words = tokenizer.get_vocab() if hasattr(tokenizer, 'get_vocab') else {}
    return f'{type(tokenizer).__name__} {sorted(words.items())}'
