import base64
import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.cli.explain import shares_of_scores
from pyg_mmgef.cli.graph_statistics import graph_statistics
from pyg_mmgef.cli.plots import curves
from pyg_mmgef.cli.run_folder import LoadedRun, RunFolder
from pyg_mmgef.encoders._pictures import UnreadablePictureError, read_picture
from pyg_mmgef.files import write_atomically
from pyg_mmgef.nn import MMGEF
from pyg_mmgef.ranking import recommend
from pyg_mmgef.search import ItemIndex

__all__ = ['write_report']

SHOWN, REASONS, SIDE = 6, 3, 120


def write_report(run: RunFolder, path: Path, num_users: int = 5, num_items: int = 5) -> None:
    """Write one HTML page about a run that needs nothing beside it.

    Args:
        run: The run.
        path: The file to write.
        num_users: Users to show, drawn with the run's seed among those with a test interaction.
            (default: ``5``)
        num_items: Items to show, drawn likewise among all. (default: ``5``)
    """
    import jinja2

    loaded = run.load()
    cards = _Cards(loaded)
    generator = torch.Generator().manual_seed(run.settings.seed)
    users = loaded.test['user', 'interacts', 'item'].edge_label_index[0].unique()
    users = users[torch.randperm(users.numel(), generator=generator)[:num_users]]
    items = torch.randperm(loaded.z_item.size(0), generator=generator)[:num_items]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = files('pyg_mmgef.cli').joinpath('report.html.j2').read_text(encoding='utf-8')
    page = environment.from_string(template).render(
        run=run,
        dataset=loaded.dataset,
        metrics=run.metrics or {},
        results={part: loaded.evaluate(part, (10, 20)) for part in ('val', 'test')},
        curves=_data_url(curves(run.history()), 'image/png'),
        attention=_attention(loaded),
        statistics=graph_statistics(loaded.train, run.settings.k),
        users=[_user(loaded, cards, int(user)) for user in users],
        items=[_item(loaded, cards, int(item)) for item in items],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())


class _Cards:
    """What an item looks like on the page."""

    def __init__(self, loaded: LoadedRun) -> None:
        self.ids = list(loaded.dataset.item_ids)
        self.items = loaded.dataset.items()
        self.pictures: dict[int, str | None] = {}

    def __call__(self, item: int, note: str = '') -> dict[str, Any]:
        if item not in self.pictures:
            self.pictures[item] = _thumbnail(self.items[item]['image'])
        text = self.items[item]['text'] or ''
        return {
            'id': self.ids[item],
            'text': text if len(text) <= 90 else text[:87] + '...',
            'picture': self.pictures[item],
            'note': note,
            'hit': False,
            'reasons': [],
        }


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


def _attention(loaded: LoadedRun) -> list[tuple[str, float, float]]:
    """Return the mean and the standard deviation of each item graph's attention."""
    model = loaded.model
    if not isinstance(model, MMGEF) or model.item_encoder.attention is None:
        return []
    alpha = model.alpha(loaded.train)
    deviation = alpha.std(dim=0, correction=0)
    rows = zip(model.item_graphs, alpha.mean(dim=0).tolist(), deviation.tolist(), strict=True)
    return list(rows)


def _user(loaded: LoadedRun, cards: _Cards, user: int) -> dict[str, Any]:
    scores, items = recommend(
        loaded.z_user, loaded.z_item, torch.tensor([user]), k=SHOWN, exclude=loaded.seen('val')
    )
    shown = items[0][items[0] >= 0]
    owned, shares = shares_of_scores(loaded.model, loaded.train, user, loaded.z_item[shown])
    held_out = loaded.test['user', 'interacts', 'item'].edge_label_index
    wanted = set(held_out[1][held_out[0] == user].tolist())
    recommended = []
    for position, item in enumerate(shown.tolist()):
        best = shares[position].topk(min(REASONS, owned.numel()))
        card = cards(item, f'score {scores[0, position]:.2f}')
        card['hit'] = item in wanted
        card['reasons'] = [
            (cards(int(owned[at]))['text'] or cards.ids[int(owned[at])], share)
            for share, at in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        recommended.append(card)
    # What carries most of all that is shown comes first.
    order = shares.sum(dim=0).argsort(descending=True)
    return {
        'id': loaded.dataset.user_ids[user],
        'num_liked': owned.numel(),
        'num_wanted': len(wanted),
        'liked': [cards(int(item)) for item in owned[order][:SHOWN]],
        'recommended': recommended,
    }


def _item(loaded: LoadedRun, cards: _Cards, item: int) -> dict[str, Any]:
    neighbours: dict[str, list[dict[str, Any]]] = {}
    count = min(SHOWN + 1, loaded.z_item.size(0))
    cosine, found = ItemIndex(loaded.z_item).search(loaded.z_item[item : item + 1], count)
    pairs = zip(found[0].tolist(), cosine[0].tolist(), strict=True)
    others = [(other, value) for other, value in pairs if other != item][:SHOWN]
    neighbours['embedding'] = [cards(other, f'cosine {value:.2f}') for other, value in others]
    for source, relation, destination in loaded.train.edge_types:
        if source == destination:
            store = loaded.train[source, relation, destination]
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
