import base64
import io
from collections import defaultdict
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyg_mmgef.cli.console import printable
from pyg_mmgef.cli.graph_statistics import graph_statistics
from pyg_mmgef.cli.show import shortened
from pyg_mmgef.encoders._pictures import UnreadablePictureError, read_picture
from pyg_mmgef.explain import Explanation
from pyg_mmgef.files import make_folder, write_atomically
from pyg_mmgef.nn import MMGEF
from pyg_mmgef.ranking import recommend
from pyg_mmgef.ranking.top_lists import DEFAULT, OF_ALL_LISTS, OF_LISTS
from pyg_mmgef.runs._metric_words import MEANINGS, grouping_title
from pyg_mmgef.runs._run_lists import OWN
from pyg_mmgef.runs.models import NEIGHBORS
from pyg_mmgef.runs.plots import curves
from pyg_mmgef.runs.run import Run, fitting_cutoffs
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.search import similar_items

if TYPE_CHECKING:
    import jinja2

__all__ = ['write_report']

SHOWN, REASONS, SIDE = 6, 3, 120


def write_report(
    run: Run,
    path: Path,
    num_users: int = 5,
    num_items: int = 5,
) -> None:
    """Write a report about a run as one HTML page that includes its pictures and styles.

    Args:
        run: The run.
        path: The file to write.
        num_users: Users to show, sampled with the run's seed from those with a test interaction.
            (default: ``5``)
        num_items: Items to show, sampled from all with the same seed. (default: ``5``)
    """
    cutoffs = fitting_cutoffs(run.model.num_items)
    history = run.history
    cards = _Cards(run)
    generator = torch.Generator().manual_seed(run.settings.seed)
    users = run.test[INTERACTS].edge_label_index[0].unique()
    users = users[torch.randperm(users.numel(), generator=generator)[:num_users]]
    items = torch.randperm(run.z_item.size(0), generator=generator)[:num_items]
    shown = [_user(run, cards, int(user)) for user in users]
    lists = run.top_lists('test', cutoffs[-1])
    results = {'val': run.evaluate('val', cutoffs), 'test': lists.evaluate(DEFAULT, cutoffs)}
    baselines = run.metrics.get('baselines', {})
    page = _template().render(
        run=run,
        metrics=run.metrics,
        versions={} if run.folder is None else run.folder.config['versions'],
        results=results,
        baselines=baselines,
        headline=_headline(results['test'], baselines),
        beyond=lists.evaluate((*OF_LISTS, *OF_ALL_LISTS)),
        cutoff=cutoffs[-1],
        meanings=MEANINGS,
        groups={by: lists.grouped(run.groups(by)) for by in OWN},
        notes={by: run.groups(by).notes for by in OWN},
        grouping_title=grouping_title,
        curves=_data_url(curves(history), 'image/png') if history else None,
        attention=_attention(run),
        statistics=graph_statistics(run.train, run.settings.neighbors or NEIGHBORS),
        has_reasons=any(user['kinds'] >= {'history'} for user in shown),
        has_rest=any(user['kinds'] & {'user', 'constant'} for user in shown),
        has_words=any(card['words'] for user in shown for card in user['recommended']),
        users=shown,
        items=[_item(run, cards, int(item)) for item in items],
    )
    make_folder(path.parent)
    write_atomically(path, page.encode())


def _template() -> 'jinja2.Template':
    """Return the template, which escapes all that it is given and makes it printable."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        # Of exactly this type: the cards that the template's own macro returns are HTML.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters['shortened'] = shortened
    text = files('pyg_mmgef.cli').joinpath('report.html.j2').read_text(encoding='utf-8')
    return environment.from_string(text)


def _headline(test: dict[str, float], baselines: dict[str, dict[str, float]]) -> str:
    """Return how much is found, in words, and how much the best of the baselines finds."""
    name = next(name for name in reversed(test) if name.startswith('recall@'))
    found, (_, cutoff) = test[name], name.split('@')
    text = (
        f'On average, {cutoff} recommendations contain {found:.1%} of the items held out for a user'
    )
    if not baselines:
        return f'{text}.'
    best = max(baselines, key=lambda other: baselines[other][name])
    return (
        f'{text}; those of {best}, the best of the baselines {", ".join(baselines)}, contain '
        f'{baselines[best][name]:.1%}.'
    )


class _Cards:
    """Makes the cards of items, with text and picture, that the template shows."""

    def __init__(self, run: Run) -> None:
        self.ids = list(run.item_ids)
        self.items = run.items
        self.pictures: dict[int, str | None] = {}

    def __call__(self, item: int, note: str = '') -> dict[str, Any]:
        if item not in self.pictures:
            self.pictures[item] = _thumbnail(self.items[item]['image'])
        title, *rest = _texts(self.items[item])
        return {
            'id': str(self.ids[item]),
            'title': title,
            'rest': list(filter(None, rest)),
            'picture': self.pictures[item],
            'note': note,
            'hit': False,
            'reasons': [],
            'words': [],
        }


def _texts(item: dict[str, Any]) -> list[str]:
    """Return the texts of an item's columns; the first is its title."""
    fields = item.get('fields') or {'text': item['text']}
    return [text or '' for text in fields.values()]


def _thumbnail(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        image = read_picture(path)
    except UnreadablePictureError:
        return None
    image.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    image.save(out, format='JPEG', quality=80)
    return _data_url(out.getvalue(), 'image/jpeg')


def _data_url(content: bytes, kind: str) -> str:
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'


def _attention(run: Run) -> list[tuple[str, float, float]]:
    """Return the mean and the standard deviation of each item graph's attention."""
    model = run.model
    if not isinstance(model, MMGEF) or model.item_encoder.attention is None:
        return []
    alpha = model.alpha(run.train)
    deviation = alpha.std(dim=0, correction=0)
    rows = zip(model.item_graphs, alpha.mean(dim=0).tolist(), deviation.tolist(), strict=True)
    return list(rows)


def _user(run: Run, cards: _Cards, user: int) -> dict[str, Any]:
    scores, items = recommend(
        run.z_user, run.z_item, torch.tensor([user]), k=SHOWN, exclude=run.seen('val')
    )
    shown = items[0][items[0] >= 0]
    edge_index = run.train[INTERACTS].edge_index
    owned = edge_index[1][edge_index[0] == user].unique().tolist()
    explained = _explained(run, user, shown)
    parts = [[part for part in one.by_user or () if part.kind == 'history'] for one in explained]
    # Items with the largest shares in all recommendations shown come first.
    total: dict[int | None, float] = defaultdict(float)
    for part in chain.from_iterable(parts):
        total[part.item] += part.score
    owned.sort(key=total.__getitem__, reverse=True)
    held_out = run.test[INTERACTS].edge_label_index
    wanted = set(held_out[1][held_out[0] == user].tolist())
    recommended = []
    for position, item in enumerate(shown.tolist()):
        card = cards(item, f'score {scores[0, position]:.2f}')
        card['hit'] = item in wanted
        for part in parts[position][:REASONS] if parts else ():
            assert part.item is not None
            reason = cards(part.item)
            card['reasons'].append((reason['title'] or reason['id'], part.score))
        if explained and len(explained[position].by_item or ()) > 1:
            card['words'] = explained[position].words(side='item', most=REASONS)
        recommended.append(card)
    return {
        'id': str(run.user_ids[user]),
        'num_owned': len(owned),
        'num_wanted': len(wanted),
        'owned': [cards(item) for item in owned[:SHOWN]],
        'recommended': recommended,
        'kinds': {part.kind for one in explained for part in one.by_user or ()},
    }


def _explained(run: Run, user: int, items: Tensor) -> list[Explanation]:
    """Return the explanations of scores, or none where the model's don't split into parts."""
    try:
        return run.explainer(user, items)
    except ValueError:
        return []


def _item(run: Run, cards: _Cards, item: int) -> dict[str, Any]:
    neighbours: dict[str, list[dict[str, Any]]] = {}
    if run.has_embeddings:
        cosine, found = similar_items(run.z_item, torch.tensor([item]), SHOWN)
        neighbours['embedding'] = [
            cards(other, f'cosine {value:.2f}')
            for other, value in zip(found[0].tolist(), cosine[0].tolist(), strict=True)
            if other >= 0
        ]
    for source, relation, destination in run.train.edge_types:
        if source == destination:
            store = run.train[source, relation, destination]
            neighbours[relation] = _strongest(cards, store.edge_index, store.edge_weight, item)
    return {'card': cards(item), 'neighbours': neighbours}


def _strongest(
    cards: _Cards, edge_index: Tensor, edge_weight: Tensor, item: int
) -> list[dict[str, Any]]:
    incoming = (edge_index[1] == item).nonzero().view(-1)
    order = edge_weight[incoming].argsort(descending=True, stable=True)[:SHOWN]
    return [
        cards(int(edge_index[0, edge]), f'weight {edge_weight[edge]:.2f}')
        for edge in incoming[order]
    ]
