"""Each claim of the paper as a comparison of two rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from experiments.figures import decimal, gain, p_text
from experiments.rst import MADE, heading, link, list_table, wrapped
from experiments.shops import LACKING
from experiments.stats import LEVEL, Runs, is_cut, mean, of, p_of, p_with_seeds

from pyg_mmgef.ranking import holm

__all__ = ['Verdict', 'claims_page', 'judged', 'matrix', 'summary']

ABOUT_CLAIMS = (
    'Each claim of MM-GEF (arXiv 2308.07222) is a comparison of two rows of the tables, test '
    'figures, mean over all seeds. *Users* is the p-value of a paired t-test over users on '
    'NDCG@20, which takes the trained models as given. *Users and seeds* has the spread over the '
    'seeds of both models in its error as well (Welch). Both are corrected for the number of '
    'comparisons on this page (Holm). A claim is decided where the second p-value is below '
    f'{decimal(LEVEL, 2)}, with at least three seeds of each. An asterisk: the limit of epochs '
    'stopped some run of the two while it might still have improved; where that is a run of the '
    'loser, nothing is decided. Ablations change one option and keep the learning rate and penalty '
    'that were chosen for the whole model, which favours it. Late fusion has a graph for each '
    'modality and fuses no graph early; the features that the nodes have stay fused. It and '
    'co-interactions alone have no graph of learned features, so the other side of these rows has '
    'none either (``lambda-1``). Cold items are ranked by an older rule than the present one, see '
    f'{link("Results", "index.rst")}.'
)
COLD = ('cold', 'cold among cold')
METRICS = ('ndcg@20', 'recall@20')
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


@dataclass(frozen=True)
class Verdict:
    """What the runs on a data set say of a claim.

    Args:
        claim: The claim.
        title: The name of the data set.
        ndcg: The gain of NDCG@20.
        recall: The gain of Recall@20.
        seeds: How many runs each side has.
        p_users: The p-value over users.
        p: The p-value over users and seeds; both are corrected for the number of comparisons.
        is_cut: Whether the limit of epochs stopped some run that might still have improved.
        text: ``'confirmed'``, ``'refuted'``, ``'undecided'`` or ``'undecided: cut'``.
    """

    claim: str
    title: str
    ndcg: float
    recall: float
    seeds: tuple[int, int]
    p_users: float
    p: float
    is_cut: bool
    text: str


def judged(runs: Runs, titles: Mapping[str, str]) -> list[Verdict]:
    """Return what the runs say of each claim on each data set that has both rows."""
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
    out = []
    for names, (left, right, task), p_users, p in zip(
        named, pairs, over_users, with_seeds, strict=True
    ):
        ndcg, recall = (mean(left, task, key) - mean(right, task, key) for key in METRICS)
        cut = any(map(is_cut, left + right))
        text = verdict_of(ndcg, p, left, right)
        seeds = (len(left), len(right))
        out.append(Verdict(*names, ndcg, recall, seeds, p_users, p, cut, text))
    return out


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return how many claims hold, and which."""
    count = Counter(verdict.text.partition(':')[0] for verdict in verdicts)
    text = f'Of {len(verdicts)} comparisons, **{count["confirmed"]} confirm a claim, '
    return text + f'{count["refuted"]} refute one, and {count["undecided"]} decide nothing**.'


def matrix(verdicts: Sequence[Verdict]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table of claims by data sets."""
    titles = list(dict.fromkeys(verdict.title for verdict in verdicts))
    found = {(verdict.claim, verdict.title): verdict for verdict in verdicts}
    cells = []
    for claim in dict.fromkeys(verdict.claim for verdict in verdicts):
        own = [found.get((claim, title)) for title in titles]
        cells.append([claim, *(_in_matrix(verdict) for verdict in own)])
    return ['', *titles], cells


def _in_matrix(verdict: Verdict | None) -> str:
    if verdict is None:
        return ''
    decided = not verdict.text.startswith('undecided')
    return f'{f"**{verdict.text}**" if decided else verdict.text} {gain(verdict.ndcg)}'


def claims_page(verdicts: Sequence[Verdict]) -> str:
    """Return what the runs say of each claim of the paper."""
    lines = [MADE, '', *heading("The paper's claims", '=')]
    if verdicts:
        lines += [*wrapped(f'{summary(verdicts)} Gains are of NDCG@20.')]
        lines += list_table(*matrix(verdicts))
    cells = [
        [
            verdict.claim + '*' * verdict.is_cut,
            verdict.title,
            gain(verdict.ndcg),
            gain(verdict.recall),
            ' / '.join(map(str, verdict.seeds)),
            p_text(verdict.p_users),
            p_text(verdict.p),
        ]
        for verdict in verdicts
    ]
    lines += [*heading('How it was measured', '-'), *wrapped(ABOUT_CLAIMS)]
    if cells:
        header = ['claim', 'data', 'NDCG@20', 'Recall@20', 'seeds', 'users', 'users and seeds']
        lines += list_table(header, cells)
    return '\n'.join(lines)


def verdict_of(gain: float, p: float, ours: Runs, theirs: Runs) -> str:
    """Return what a difference says; nothing, where more epochs might have helped the loser."""
    if p >= LEVEL or min(len(ours), len(theirs)) < 3:
        return 'undecided'
    if any(map(is_cut, theirs if gain > 0 else ours)):
        return 'undecided: cut'
    return 'confirmed' if gain > 0 else 'refuted'
