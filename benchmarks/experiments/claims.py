"""Each claim of the paper as a comparison of two rows."""

from collections.abc import Mapping
from typing import TypeAlias

from experiments.rst import MADE, heading, list_table, wrapped
from experiments.shops import LACKING
from experiments.stats import Runs, holm, is_cut, mean, of, p_of, p_text, p_with_seeds

__all__ = ['claims_page']

LEVEL = 0.05
ABOUT_CLAIMS = (
    'Each claim of MM-GEF (arXiv 2308.07222) as a comparison of two rows of the tables, test '
    'NDCG@20, mean over all seeds. *p, users*: paired t-test over users, which takes the trained '
    'models as given. *p, seeds too*: the spread over seeds of both models is part of the error as '
    'well (Welch). Both are corrected for the number of rows on this page (Holm), and a row is '
    f'decided where the second is below {LEVEL}, with at least three seeds of each. An asterisk: '
    'some run of the two was stopped by the limit of epochs while it might still have improved; '
    'where that is a run of the loser, nothing is decided. Ablations change the one option and '
    'keep the learning rate and penalty that were chosen for the whole model, which favours it. '
    'Late fusion has a graph for each modality and fuses no graph early; the features that the '
    'nodes have stay fused. It and co-interactions alone have no graph of learned features, so the '
    'other side of these rows has none either (lambda-1).'
)
COLD = ('cold', 'cold among cold')
SHOWN = ('recall@20', 'ndcg@20')
Row: TypeAlias = tuple[str, str]
FULL: Row = ('MM-GEF', '')
NOT_LEARNED: Row = ('MM-GEF', 'lambda-1')  # Without features, the whole model is that.
# A claim, the row that should win, the one that should lose, and where.
CLAIMS: list[tuple[str, Row, Row, str, str]] = [
    ('It beats LightGCN', FULL, ('LightGCN', ''), 'warm', 'warm'),
    ('Early fusion beats late', NOT_LEARNED, ('MM-GEF', 'late-fusion'), 'warm', 'warm'),
    ('The co-interaction graph helps', FULL, ('MM-GEF', 'similar-only'), 'warm', 'warm'),
    (
        'The multimodal graph helps',
        NOT_LEARNED,
        ('MM-GEF', 'co-interacts-only'),
        'warm',
        'warm',
    ),
    ('Soft attention beats the average', FULL, ('MM-GEF', 'average'), 'warm', 'warm'),
    ('Convolving beats depth 0', FULL, ('MM-GEF', 'depth-0'), 'warm', 'warm'),
    *(
        (f'Cold items gain over {name}', FULL, (name, ''), *COLD)
        for name in ('LightGCN', 'VBPR', 'LATTICE', 'FREEDOM')
    ),
]


def claims_page(runs: Runs, titles: Mapping[str, str]) -> str:
    """Return what the runs say of each claim of the paper."""
    named, pairs = [], []
    for claim, ours, theirs, condition, task in CLAIMS:
        for data, title in titles.items():
            side = FULL if ours == NOT_LEARNED and 'features' in LACKING.get(data, ()) else ours
            pair = (of(runs, data, condition, *side), of(runs, data, condition, *theirs))
            if all(len(own) > 1 and task in own[0]['metrics'] for own in pair):
                named.append((claim, title))
                pairs.append((*pair, task))
    over_users = holm([p_of(*pair) for pair in pairs])
    with_seeds = holm([p_with_seeds(*pair) for pair in pairs])
    cells = []
    for (claim, title), (left, right, task), p_users, p in zip(
        named, pairs, over_users, with_seeds, strict=True
    ):
        gains = [mean(left, task, key) - mean(right, task, key) for key in SHOWN]
        mark = '*' * any(map(is_cut, left + right))
        seeds = f'{len(left)} / {len(right)}'
        shown = [f'{gain:+.4f}' for gain in gains]
        verdict = verdict_of(gains[-1], p, left, right)
        cells.append([claim + mark, title, *shown, seeds, p_text(p_users), p_text(p), verdict])
    header = ['claim', 'data', *SHOWN, 'seeds', 'p, users', 'p, seeds too', f'at p < {LEVEL}']
    table = list_table(header, cells) if cells else []
    return '\n'.join(
        [MADE, '', *heading("The paper's claims", '='), *wrapped(ABOUT_CLAIMS), *table]
    )


def verdict_of(gain: float, p: float, ours: Runs, theirs: Runs) -> str:
    """Return what a difference says; nothing, where more epochs might have helped the loser."""
    if p >= LEVEL or min(len(ours), len(theirs)) < 3:
        return 'undecided'
    if any(map(is_cut, theirs if gain > 0 else ours)):
        return 'undecided: cut'
    return 'confirmed' if gain > 0 else 'refuted'
