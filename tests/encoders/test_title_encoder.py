import sys
import warnings

import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch.nn.functional import cosine_similarity

from pyg_mmgef.encoders import TitleEncoder, _title_terms
from pyg_mmgef.encoders._title_terms import character_terms

TITLES = [
    'Red wool cushion',
    None,
    'red cushion, wool',
    '  ',
    'Blue glass lamp',
    '!!!',
    'blue lamp of glass',
]


def test_similar_titles_are_near_and_blank_ones_missing() -> None:
    with pytest.warns(UserWarning, match=r"1 of 5 texts have no word .* as missing: '!!!'$"):
        x, has = TitleEncoder(channels=16).encode_texts(TITLES)
    assert x.shape == (7, 16)
    assert x.dtype == torch.float32
    assert has.tolist() == [True, False, True, False, True, False, True]
    assert (x[~has] == 0).all()
    near = cosine_similarity(x[0], x[2], dim=0)
    far = cosine_similarity(x[0], x[4], dim=0)
    assert near > 0.4  # they share their words, not the word pairs
    assert abs(far) < 0.01


def test_words_give_the_vectors_of_a_plain_vectorizer(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [
        *(f"Word{i % 17} tHing{i % 23}, l'été n° {i} — a_b" for i in range(60)),
        *(
            'Красный стол 2',
            '빨간 드레스 여름',
            'مصباح أزرق',
            'लाल मेज़',
            'שולחן עץ',
            'ΚΌΚΚΙΝΟ',
            '3×4',
        ),
    ]
    ours, has = TitleEncoder(16).encode_texts(titles)
    monkeypatch.setattr(_title_terms, 'TermVectorizer', TfidfVectorizer)
    plain, has_plain = TitleEncoder(16).encode_texts(titles)
    assert torch.equal(ours, plain)
    assert torch.equal(has, has_plain)


@pytest.mark.parametrize(
    'titles',
    [
        ['红色连衣裙夏季新款', '黑色连衣裙', '保温杯大容量', '不锈钢保温杯'],
        ['赤いワンピース夏', '黒のワンピース', 'ステンレスボトル', '大容量ボトル'],
        ['เดรสสีแดงฤดูร้อน', 'เดรสสีดำ', 'ขวดน้ำสแตนเลส', 'ขวดน้ำขนาดใหญ่'],
        ['Nike 跑步鞋 42', '跑步鞋 Adidas', 'Nike 背包 30L', '背包 Puma'],
    ],
)
def test_scripts_without_blanks(titles: list[str]) -> None:
    x, has = TitleEncoder().encode_texts(titles)
    assert has.all()
    near = cosine_similarity(x[0], x[1], dim=0), cosine_similarity(x[2], x[3], dim=0)
    assert min(near) > 0.15
    assert min(near) > 2 * abs(cosine_similarity(x[1], x[3], dim=0))


def test_terms_of_characters() -> None:
    assert list(character_terms('Tee 红裙子 x')) == ['红', '裙', '子', '红裙', '裙子', '红裙子']
    assert list(character_terms('スカ')) == ['スカ']
    assert list(character_terms('ス')) == ['ス']
    assert list(character_terms('plain ·・ words')) == []


def test_all_dimensions_keep_the_inner_products() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    titles = ['red wool cushion', 'red cushion', 'blue lamp']
    x, _ = TitleEncoder(channels=3).encode_texts(titles)
    terms = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(titles).toarray()
    assert torch.allclose(x @ x.t(), torch.tensor(terms @ terms.T).float(), atol=1e-5)


def test_small_catalogue_is_padded() -> None:
    x, _ = TitleEncoder(channels=50).encode_texts(TITLES)
    assert x.shape == (7, 50)
    assert (x[:, 4:] == 0).all()  # four titles span at most four dimensions


def test_a_catalogue_without_a_word_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"4 of 4 texts .* missing: '!!!', '\?', '\.' and 1 more"):
        x, has = TitleEncoder(8).encode_texts(['!!!', '?', '.', '-', None])
    assert not has.any()
    assert not x.any()


@pytest.mark.parametrize('texts', [[], [None, ' '], ['red'], ['red'] * 3])
def test_degenerate_catalogues(texts: list[str | None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x, has = TitleEncoder(channels=8).encode_texts(texts)
    assert x.shape == (len(texts), 8)
    assert has.tolist() == [text == 'red' for text in texts]
    assert x.isfinite().all()


def test_min_titles_drops_rare_terms() -> None:
    x, has = TitleEncoder(8, min_titles=2).encode_texts(['red', 'red', 'unique'])
    assert has.tolist() == [True, True, False]
    assert torch.equal(x[0], x[1])
    assert not TitleEncoder(8, min_titles=3).encode_texts(['red', 'blue'])[1].any()


def test_same_seed_same_bytes_and_no_global_state() -> None:
    titles = [f'word{i % 17} thing{i % 23} other{i % 5}' for i in range(200)]
    state = torch.random.get_rng_state()
    first, _ = TitleEncoder(16, seed=3).encode_texts(titles)
    again, _ = TitleEncoder(16, seed=3).encode_texts(titles)
    other, _ = TitleEncoder(16, seed=4).encode_texts(titles)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_fit_keeps_one_space_for_later_titles() -> None:
    encoder = TitleEncoder(16)
    unfitted = encoder.fingerprint
    catalogue, _ = encoder.encode_texts(TITLES)
    assert encoder.fingerprint == unfitted  # encoding alone leaves nothing behind
    assert encoder.fit(TITLES) is encoder
    later, has = encoder.encode_texts(['Blue glass lamp', 'unheard of'])
    assert torch.allclose(later[0], catalogue[4], atol=1e-6)
    assert has.tolist() == [True, True]  # 'of' is known
    assert encoder.fingerprint != unfitted
    assert encoder.fingerprint == TitleEncoder(16).fit(TITLES).fingerprint
    assert encoder.fingerprint != TitleEncoder(16).fit(TITLES[:3]).fingerprint


def test_fingerprint_tells_settings_that_matter() -> None:
    encoders = [
        TitleEncoder(),
        TitleEncoder(64),
        TitleEncoder(max_words=1),
        TitleEncoder(min_titles=2),
        TitleEncoder(seed=1),
    ]
    assert len({encoder.fingerprint for encoder in encoders}) == len(encoders)
    assert TitleEncoder().fingerprint == TitleEncoder().fingerprint


def test_repr() -> None:
    assert repr(TitleEncoder()) == 'TitleEncoder(channels=128)'


@pytest.mark.parametrize('name', ['channels', 'max_words', 'min_titles'])
def test_wrong_settings(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be a positive integer"):
        TitleEncoder(**{name: 0})


def test_a_single_string_is_refused() -> None:
    with pytest.raises(ValueError, match="'texts' must be a sequence"):
        TitleEncoder().encode_texts('red cushion')


def test_missing_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'sklearn.decomposition', None)
    with pytest.raises(ImportError, match=r'pip install "pyg-mmgef\[cli\]"'):
        TitleEncoder().encode_texts(['red'])
