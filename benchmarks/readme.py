"""Put the figures and the table of models into README.md.

    python benchmarks/readme.py

A part of the README between two comments, ``<!-- NAME: made by ... -->`` and ``<!-- end -->``, is
made here, from the rows in docs/best and docs/performance and from the registry of models.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import best_page
import performance

from pyg_mmgef.files import write_atomically
from pyg_mmgef.nn import recommenders

ROOT = Path(__file__).parents[1]
PLACES = {'shop': 'a synthetic shop', 'ml100k': 'MovieLens 100K', 'lfm2k': 'LFM-2k'}
COLUMNS = 4  # Of the table of models.
Groups: TypeAlias = Mapping[tuple[str, bool], dict[str, best_page.Rows]]


def headlines() -> str:
    """Return three claims with their figures, and where the evidence is."""
    groups = best_page.grouped(best_page.read(ROOT / 'docs' / 'best'))
    on_sparse, on_edges = (
        _rows('scaling', 'LightGCN', f'PyG LightGCN, {form}')[0]
        for form in ('SparseTensor', 'edge_index')
    )
    graph = _rows('knn_build', 'exact', 'FAISS flat')[-1]
    return '\n'.join(
        [
            f'- **Known items.** {_first(groups)} ([who ranks best](docs/best.rst)).',
            f'- **New items.** Of the new items that a user goes on to choose, {_new(groups)} are '
            'among the first 20 of all new ones ([cold items](docs/best.rst)).',
            f'- **Speed.** A training step of LightGCN takes '
            f"{_spoken(on_sparse.seconds)}, PyG's "
            f'{_spoken(on_sparse.peer_seconds)} on `SparseTensor` and '
            f'{_spoken(on_edges.peer_seconds)} on `edge_index`; {graph.job}, exact, '
            f'{_spoken(graph.seconds)}, by FAISS '
            f'{_spoken(graph.peer_seconds)} ([on two CPU cores]'
            '(docs/performance.rst)).',
        ]
    )


def _rows(script: str, ours: str, peer: str) -> list[performance.Row]:
    """Return the rows of a script's results about one method beside one peer, by size."""
    found = performance.read(ROOT / 'docs' / 'performance', script)
    assert found is not None, script
    return [row for row in found[1] if row.ours.startswith(ours) and row.peer.startswith(peer)]


def _spoken(seconds: float | None) -> str:
    assert seconds is not None, 'the peer failed'
    return performance.spoken(seconds)


def _first(groups: Groups) -> str:
    """Return in how many comparisons the default is first, and by how much."""
    of = best_page.figure(best_page.WARM)
    firsts = [own for own in groups.values() if best_page.ranked(own, of)[0] == best_page.DEFAULT]
    leads = sorted(best_page.relative_lead(own, of) for own in firsts)
    names = {name for own in groups.values() for name in own}
    least, most = best_page.share(leads[0]), best_page.share(leads[-1])
    clear = sum(best_page.is_clear(own, of) for own in firsts)
    return (
        f'The default ranks best in {len(firsts)} of {len(groups)} comparisons with up to '
        f'{len(names) - 1} other models, by {least} to {most} of NDCG@20; {clear} of these leads '
        f'exceed{"s" * (clear == 1)} the spread over seeds'
    )


def _new(groups: Groups) -> str:
    """Return the recall of the default among cold items."""
    of = best_page.figure(best_page.COLD, 'recall@20')
    texts = [
        f'{best_page.share(best_page.mean(groups[data, True][best_page.DEFAULT], of))} in {name}'
        for data, name in PLACES.items()
    ]
    return f'{", ".join(texts[:-1])} and {texts[-1]}'


def models() -> str:
    """Return the table of models with the year of their papers, the newest first."""
    found = recommenders()
    cells = [
        f'`{name}` [{found[name].year}]({found[name].paper})' if found[name].paper else f'`{name}`'
        for name in sorted(found, key=lambda name: (-(found[name].year or 0), name))
    ]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    rows[-1] += [''] * (COLUMNS - len(rows[-1]))
    lines = [f'|{" |" * COLUMNS}', f'|{"---|" * COLUMNS}']
    return '\n'.join([*lines, *(f'| {" | ".join(row)} |' for row in rows)])


PARTS: Mapping[str, Callable[[], str]] = {'headlines': headlines, 'models': models}


def filled(text: str) -> str:
    """Return the text of a README with its parts made anew."""
    for name, make in PARTS.items():
        mark, end = f'<!-- {name}: made by benchmarks/readme.py -->', '<!-- end -->'
        before, found, rest = text.partition(mark)
        assert found, name
        text = f'{before}{mark}\n{make()}\n{end}{rest.partition(end)[2]}'
    return text


if __name__ == '__main__':
    path = ROOT / 'README.md'
    write_atomically(path, filled(path.read_text(encoding='utf-8')).encode())
