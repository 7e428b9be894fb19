"""Each claim of the paper as a comparison of two rows."""

import statistics
from collections.abc import Mapping
from typing import TypeAlias

from experiments.rst import MADE, heading, list_table, wrapped
from experiments.stats import Runs, holm, in_both, of, p_of, p_text

__all__ = ['claims_page']

LEVEL = 0.01
ABOUT_CLAIMS = (
    'Each claim of MM-GEF (arXiv 2308.07222) as a comparison of two rows over the same seeds: the '
    'difference of their means, and a paired t-test over users on NDCG@20, corrected for the '
    'number of rows on this page (Holm). A row is decided where the corrected p is below '
    f'{LEVEL} and all seeds agree, at least three. Ablations change the one option and keep the '
    'learning rate and penalty that were chosen for the whole model, which favours it. Cold items: '
    'the options are those of a search with the same items cold, whose validation part holds '
    'none of their interactions.'
)
SHOWN = ('recall@20', 'ndcg@20')
Row: TypeAlias = tuple[str, str]
FULL: Row = ('MM-GEF', '')
# A claim, the row that should win, the one that should lose, and where.
CLAIMS: list[tuple[str, Row, Row, str, str]] = [
    ('It beats LightGCN', FULL, ('LightGCN', ''), 'warm', 'warm'),
    ('Early fusion beats late', FULL, ('MM-GEF', 'late-fusion'), 'warm', 'warm'),
    ('The co-interaction graph helps', FULL, ('MM-GEF', 'similar-only'), 'warm', 'warm'),
    ('The multimodal graph helps', FULL, ('MM-GEF', 'co-interacts-only'), 'warm', 'warm'),
    ('Soft attention beats the average', FULL, ('MM-GEF', 'average'), 'warm', 'warm'),
    ('Convolving beats depth 0', FULL, ('MM-GEF', 'depth-0'), 'warm', 'warm'),
    *(
        (f'Cold items gain over {name}', FULL, (name, ''), 'cold', 'cold among cold')
        for name in ('LightGCN', 'VBPR', 'LATTICE', 'FREEDOM')
    ),
]


def claims_page(runs: Runs, titles: Mapping[str, str]) -> str:
    """Return what the runs say of each claim of the paper."""
    cells, p_values, decided = [], [], []
    for claim, ours, theirs, condition, task in CLAIMS:
        for data, title in titles.items():
            pair = in_both(*(of(runs, data, condition, *side) for side in (ours, theirs)))
            if not pair[0] or not all(task in run['metrics'] for side in pair for run in side):
                continue
            differences = [
                [
                    a['metrics'][task][key] - b['metrics'][task][key]
                    for a, b in zip(*pair, strict=True)
                ]
                for key in SHOWN
            ]
            signs = {difference > 0 for difference in differences[1]}
            cells.append([claim, title, *(f'{statistics.mean(d):+.4f}' for d in differences)])
            p_values.append(p_of(pair[0], pair[1], task))
            if len(signs) > 1 or len(differences[1]) < 3:
                decided.append('')
            else:
                decided.append('confirmed' if signs == {True} else 'refuted')
    for row, p, verdict in zip(cells, holm(p_values), decided, strict=True):
        row += [p_text(p), (verdict if p < LEVEL else '') or 'undecided']
    header = ['claim', 'data', 'Recall@20', 'NDCG@20', 'p', f'at p < {LEVEL}']
    table = list_table(header, cells) if cells else []
    return '\n'.join(
        [MADE, '', *heading("The paper's claims", '='), *wrapped(ABOUT_CLAIMS), *table]
    )
