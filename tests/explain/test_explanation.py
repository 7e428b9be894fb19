import pytest

from pyg_mmgef.explain import Explanation, Part

TITLES = ['Lamp', 'Rattan stool', 'Sofa', 'Desk', 'Rug']


def of_user(*parts: Part) -> Explanation:
    return Explanation(0, 2, sum(part.score for part in parts), parts, None)


def of_item(*parts: Part) -> Explanation:
    return Explanation(0, 2, sum(part.score for part in parts), None, parts)


def test_shares_of_a_score_that_nothing_speaks_against() -> None:
    found = of_user(Part('history', 0.41, 1), Part('user', 0.39), Part('history', 0.2, 0))
    assert found.words(TITLES, verb='bought') == [
        "41 % because you bought 'Rattan stool'.",
        '39 % because of your taste in general.',
        "20 % because you bought 'Lamp'.",
    ]


def test_small_reasons_are_counted() -> None:
    parts = [
        Part('history', score, item) for item, score in enumerate([5.0, 3.0, 1.0, 0.995, 0.005])
    ]
    assert of_user(*parts).words(TITLES, most=2) == [
        "50 % because you chose 'Lamp'.",
        "30 % because you chose 'Rattan stool'.",
        '20 % for 3 smaller reasons.',
    ]
    assert of_user(*parts).words(TITLES, most=4)[-1] == 'less than 1 % for one smaller reason.'


def test_what_is_negligible_is_no_reason() -> None:
    parts = Part('history', 1.0, 0), Part('residual', 1e-7), Part('residual', -1e-7)
    assert of_user(*parts).words(TITLES, most=1) == ["100 % because you chose 'Lamp'."]


def test_what_speaks_against_it() -> None:
    pros = Part('history', 3.0, 1), Part('user', 1.0)
    cons = Part('history', -1.0, 3), Part('history', -1.0, 4)
    assert of_user(*pros, *cons).words(TITLES) == [
        "75 % because you chose 'Rattan stool'.",
        '25 % because of your taste in general.',
        "Against it, 50 %: because you chose 'Desk', and one smaller reason.",
    ]
    assert of_user(Part('user', 1.0), Part('history', -2.0, 3)).words(TITLES) == [
        '100 % because of your taste in general.',
        "Against it, 200 %: because you chose 'Desk'.",
        'All in all, more speaks against it than for it.',
    ]


@pytest.mark.parametrize('parts', [(), (Part('user', -1.0),), (Part('user', 0.0),)])
def test_nothing_speaks_for_it(parts: tuple[Part, ...]) -> None:
    assert of_user(*parts).words(TITLES) == ['Nothing that is known of you speaks for it.']


def test_reasons_by_the_item() -> None:
    parts = (
        Part('collaborative', 30.0),
        Part('neighbours', 20.0, 1, 'co_interacts'),
        Part('neighbours', 15.0, 1, 'similar'),
        Part('neighbours', 10.0, 3, 'similar_image'),
        Part('modality', 8.0, name='text'),
        Part('modality', 7.0, name='audio'),
        Part('average', 6.0),
        Part('bias', 4.0),
    )
    assert of_item(*parts).words(TITLES, most=8, verb='bought') == [
        '30 % because of who else bought it.',
        "20 % because people who bought it also bought 'Rattan stool'.",
        "15 % because it is like 'Rattan stool'.",
        "10 % because its picture is like that of 'Desk'.",
        '8 % because of its words.',
        '7 % because of its audio.',
        '6 % because of what items have in common.',
        '4 % because it is well liked.',
    ]


def test_titles_that_it_brings() -> None:
    parts = (Part('history', 1.0, 4),)
    found = Explanation(0, 2, 1.0, parts, None, titles=TITLES)
    assert found.words() == ["100 % because you chose 'Rug'."]
    assert found == of_user(*parts)
    assert 'Rug' not in repr(found)


def test_bad_arguments() -> None:
    found = of_user(Part('history', 1.0, 4))
    with pytest.raises(ValueError, match="isn't split by the side of 'item'; choose the other one"):
        found.words(TITLES, 'item')
    with pytest.raises(ValueError, match="'side' must be one of 'user', 'item'"):
        found.words(TITLES, 'both')
    with pytest.raises(ValueError, match=r"'titles' must have a title for each item \(got 2, and"):
        found.words(TITLES[:2])
    with pytest.raises(ValueError, match="'titles' is None, and the explanation has none"):
        found.words()
    with pytest.raises(ValueError, match="'most' must be a positive integer"):
        found.words(TITLES, most=0)
