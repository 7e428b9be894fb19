"""A text encoder without pretrained weights: TF-IDF and a truncated SVD."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_mmgef.encoders._inputs import check_sequence, is_blank, warn_unknown
from pyg_mmgef.validate import check_positive

__all__ = ['TitleEncoder']


class TitleEncoder:
    r"""Encodes titles by TF-IDF and a truncated SVD (latent semantic analysis).

    .. math::
        \mathbf{X} = \mathrm{tfidf}(\text{words and word pairs}) \approx
        \mathbf{U} \mathbf{\Sigma} \mathbf{V}^\top, \qquad
        \mathbf{x}_i = \mathbf{X}_{i,:} \mathbf{V}

    with sublinear term frequencies :math:`1 + \log \mathrm{tf}` and rows of unit length before
    the SVD (Deerwester et al., 1990; scikit-learn's ``TfidfVectorizer`` and ``TruncatedSVD``).

    Scripts without blanks between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) give pairs
    and triples of neighbouring characters, and single Chinese characters, instead of words.

    The encoder is *fitted on a catalogue*. That is unsupervised: it uses the titles of all items,
    cold ones included, but no interactions. Without :meth:`fit`, :meth:`encode_texts` fits on the
    texts of each call, so the vectors of two calls are in different spaces. To encode further
    titles later, call :meth:`fit` with the catalogue first.

    A catalogue with fewer words or titles than ``channels`` gives fewer dimensions; vectors are
    padded with zeros. It needs scikit-learn (``pip install "pyg-mmgef[cli]"``).

    Args:
        channels: Length of a title's vector. (default: ``128``)
        max_words: Longest run of words that counts as a term: ``2`` means single words and word
            pairs. (default: ``2``)
        min_titles: Ignore terms that are in fewer titles. (default: ``1``)
        seed: Seed of the randomised SVD. (default: ``0``)

    Raises:
        ValueError: If ``channels``, ``max_words`` or ``min_titles`` isn't a positive integer.
    """

    def __init__(
        self, channels: int = 128, *, max_words: int = 2, min_titles: int = 1, seed: int = 0
    ) -> None:
        check_positive('channels', channels)
        check_positive('max_words', max_words)
        check_positive('min_titles', min_titles)
        self.channels = channels
        self.max_words = max_words
        self.min_titles = min_titles
        self.seed = seed
        self._fitted: _FittedTitles | None = None

    @property
    def fingerprint(self) -> str:
        """The encoder's name and every setting that changes its output.

        After :meth:`fit` it includes a digest of the catalogue.
        """
        catalogue = '' if self._fitted is None else f', catalogue={self._fitted.digest}'
        return (
            f'TitleEncoder/2(channels={self.channels}, max_words={self.max_words}, '
            f'min_titles={self.min_titles}, seed={self.seed}{catalogue})'
        )

    @property
    def is_fitted(self) -> bool:
        """Whether :meth:`fit` has been called."""
        return self._fitted is not None

    def fit(self, texts: Sequence[str | None]) -> 'TitleEncoder':
        """Fit on a catalogue, so that later calls of :meth:`encode_texts` share one space.

        Args:
            texts: The titles of the catalogue; missing ones are skipped.

        Returns:
            The encoder itself.

        Raises:
            ImportError: If scikit-learn is not installed.
            ValueError: If ``texts`` is a single string.
        """
        self._fitted = self._fit(texts)
        return self

    def encode_texts(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """Encode one title per item; see :class:`~pyg_mmgef.encoders.TextEncoder`.

        A title without any known word (such as ``'!!!'``) counts as missing. One
        :class:`UserWarning` counts these.

        Args:
            texts: Titles, or :obj:`None` for items without one.

        Returns:
            The vectors, float32 of shape ``[n, channels]`` with zero rows for missing titles, and a
            mask of the present ones, bool of shape ``[n]``.

        Raises:
            ImportError: If scikit-learn is not installed.
            ValueError: If ``texts`` is a single string.
        """
        fitted = self._fit(texts) if self._fitted is None else self._fitted
        check_sequence('texts', texts)
        vectors = np.zeros((len(texts), self.channels), dtype=np.float32)
        present = np.zeros(len(texts), dtype=bool)
        if fitted.components is not None and len(texts) > 0:
            terms = fitted.vectorizer.transform(['' if is_blank(t) else t for t in texts])
            present = np.diff(terms.indptr) > 0
            vectors[:, : len(fitted.components)] = terms @ fitted.components.T
        unknown = [t for t, has in zip(texts, present, strict=True) if not (has or is_blank(t))]
        warn_unknown(unknown, sum(not is_blank(text) for text in texts), stacklevel=2)
        return torch.from_numpy(vectors), torch.from_numpy(present)

    def _fit(self, texts: Sequence[str | None]) -> '_FittedTitles':
        try:
            from sklearn.decomposition import TruncatedSVD

            from pyg_mmgef.encoders._title_terms import TermVectorizer
        except ImportError as error:
            raise ImportError(
                'TitleEncoder needs scikit-learn; install it with: pip install "pyg-mmgef[cli]"'
            ) from error

        check_sequence('texts', texts)
        digest = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]
        vectorizer = TermVectorizer(
            ngram_range=(1, self.max_words),
            min_df=self.min_titles,
            sublinear_tf=True,
            token_pattern=r'(?u)\b\w+\b',
        )
        titles = [text for text in texts if not is_blank(text)]
        try:
            terms = vectorizer.fit_transform(titles)
        except ValueError:  # no title, no word, or none in 'min_titles' titles: all are missing
            return _FittedTitles(digest, None, None)

        if terms.shape[1] == 1:  # scikit-learn refuses to reduce what can't be reduced
            return _FittedTitles(digest, vectorizer, np.ones((1, 1)))
        svd = TruncatedSVD(min(self.channels, *terms.shape), random_state=self.seed)
        # Equal titles have no variance, so the share that is explained is 0 / 0.
        with np.errstate(divide='ignore', invalid='ignore'):
            svd.fit(terms)
        # Directions beyond the rank of the titles are arbitrary, with rounding errors only.
        spanned = svd.singular_values_ > 1e-6 * svd.singular_values_[0]
        return _FittedTitles(digest, vectorizer, svd.components_[spanned])

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(channels={self.channels})'


class _FittedTitles(NamedTuple):
    """The result of a fit; there is no vectorizer if the catalogue has no words."""

    digest: str
    vectorizer: Any
    components: NDArray[np.float64] | None
