"""The films of MovieLens-100K with raw posters and plots, for the benchmarks that rank them.

Data: the folder `ml100k_multimodal` below PYG_MMGEF_DATA: ratings, a table of titles and plots, and
a folder of posters. A rating of at least 4 is an interaction. Posters pass through `PixelEncoder`,
titles and plots through `TitleEncoder`; nothing is downloaded. `best.py` ranks them.
"""

import csv
from collections.abc import Callable, Sequence
from typing import TypeAlias

from common import INTERACTS, data_root
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets import MMRecFolder
from pyg_mmgef.encoders import PixelEncoder, TitleEncoder

EncodeTexts: TypeAlias = Callable[[Sequence[str | None]], tuple[Tensor, Tensor]]
FOLDER = 'ml100k_multimodal'


def interactions() -> HeteroData:
    """Return users, films and interactions, without posters and plots."""
    data = MMRecFolder(data_root(FOLDER))[0]
    liked = data[INTERACTS].rating >= 4
    for key in ('edge_index', 'rating', 'time'):
        data[INTERACTS][key] = data[INTERACTS][key][..., liked]
    return data


def load(encode_texts: EncodeTexts | None = None) -> HeteroData:
    """Return users, films with encoded posters and plots, and interactions."""
    encode_texts = TitleEncoder().encode_texts if encode_texts is None else encode_texts
    data, folder = interactions(), data_root(FOLDER)
    with open(folder / 'item_text_poster.csv', newline='', encoding='utf-8') as file:
        rows = {int(row['item_id']): row for row in csv.DictReader(file)}
    films = [rows.get(int(item), {}) for item in data['item'].id]
    posters = [folder / film['poster'] if film.get('poster') else None for film in films]
    texts = [f'{film.get("title", "")} {film.get("plot", "")}'.strip() or None for film in films]
    data['item'].x_image, data['item'].has_image = PixelEncoder().encode_images(posters)
    data['item'].x_text, data['item'].has_text = encode_texts(texts)
    return data
