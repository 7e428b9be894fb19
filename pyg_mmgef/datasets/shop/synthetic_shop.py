"""A synthetic shop: pictures, titles and interactions with known tastes."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData, InMemoryDataset

from pyg_mmgef.datasets.shop._catalogue import (
    ATTRIBUTES,
    attribute_one_hot,
    draw_attributes,
    write_title,
)
from pyg_mmgef.datasets.shop._drawing import draw_product
from pyg_mmgef.datasets.shop._shoppers import Interactions, draw_interactions, draw_taste
from pyg_mmgef.encoders import ImageEncoder, PixelEncoder, TextEncoder, TitleEncoder
from pyg_mmgef.encoders._pictures import require_pillow
from pyg_mmgef.files import (
    check_sealed,
    check_sha256,
    make_folder,
    open_sealed,
    read_json,
    remove_leftovers,
    sha256_of,
    write_atomically,
    write_json,
)
from pyg_mmgef.validate import check_fraction, check_not_negative, check_positive

__all__ = ['SyntheticShop']

_FORMAT = 2
_GENERATE_AGAIN = 'pass force_reload=True to generate the shop again'


class SyntheticShop(InMemoryDataset):
    r"""A synthetic shop: generated product pictures and titles, and users with known tastes.

    Nothing is downloaded. Every item has a shape, a colour and a pattern, which its *picture*
    shows, and a category, a material and a style, which its *title* states; titles seldom name what
    the picture shows. Every user likes a few values of the attributes they care about. The utility
    of item :math:`i` for user :math:`u` is

    .. math::
        v_{ui} = \sum_{a} t_{u, a(i)} + p_i,

    with taste :math:`t_u` and popularity :math:`p_i`, and a user interacts with the items with the
    largest :math:`v_{ui} + \epsilon_{ui}`, where :math:`\epsilon` is standard Gumbel noise. So both
    modalities matter, also for items without interactions, and :meth:`true_utility` gives the best
    possible ranking.

    The single graph has the library's schema: ``x_image``, ``has_image``, ``x_text`` and
    ``has_text`` of the items, and ``edge_index`` and ``time`` (Unix seconds) of the interactions.
    In addition ``data['user'].taste``, ``data['item'].attributes`` (one-hot) and
    ``data['item'].popularity`` hold the *ground truth*, which no model may use.

    Folders: ``raw/`` holds ``images/00042.png``, ``items.csv``, ``attributes.csv``,
    ``interactions.csv``, ``ground_truth.npz`` and a ``manifest.json`` of the arguments and the
    SHA-256 of each file, which is compared when the shop is opened; ``processed/`` holds one file
    per choice of encoders, ``pre_transform`` and ``pre_filter``, so that another choice doesn't
    generate the shop again. Each aspect has its own random stream: another ``num_users`` doesn't
    change pictures and titles.

    Needs Pillow and, for the default encoders, scikit-learn (``pip install "pyg-mmgef[cli]"``).

    Args:
        root: Folder of the shop.
        num_users: Number of users. (default: ``3000``)
        num_items: Number of items. (default: ``1000``)
        image_encoder: Turns pictures into vectors; :obj:`None` means
            :class:`~pyg_mmgef.encoders.PixelEncoder`. (default: :obj:`None`)
        text_encoder: Turns titles into vectors; :obj:`None` means
            :class:`~pyg_mmgef.encoders.TitleEncoder`. (default: :obj:`None`)
        seed: Seed of all random numbers. (default: ``0``)
        image_size: Height and width of the pictures. (default: ``64``)
        mean_interactions: Rough mean number of interactions of a user; the numbers are long-tailed
            between about a third and three times that. (default: ``14.0``)
        taste_strength: How strongly users prefer their favourite values. (default: ``1.2``)
        popularity_strength: Standard deviation of the items' popularity. (default: ``0.5``)
        missing_image_share: Share of items without a picture. (default: ``0.05``)
        missing_title_share: Share of items without a title. (default: ``0.05``)
        new_item_share: Share of new items, which have no interaction. (default: ``0.04``)
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is written. The name of the file depends
            on its ``repr``, so another transform has another file. (default: :obj:`None`)
        pre_filter: Whether to keep the graph; since there is only one, it serves as a check.
            (default: :obj:`None`)
        force_reload: Whether to generate and encode an existing shop again.
            (default: :obj:`False`)

    Raises:
        ImportError: If Pillow, or what an encoder needs, is not installed.
        ValueError: If an argument is out of range, ``root`` holds a shop with other arguments or
            damaged files, or ``pre_filter`` refuses the graph.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        num_users: int = 3000,
        num_items: int = 1000,
        image_encoder: ImageEncoder | None = None,
        text_encoder: TextEncoder | None = None,
        seed: int = 0,
        image_size: int = 64,
        mean_interactions: float = 14.0,
        taste_strength: float = 1.2,
        popularity_strength: float = 0.5,
        missing_image_share: float = 0.05,
        missing_title_share: float = 0.05,
        new_item_share: float = 0.04,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        pre_transform: Callable[[HeteroData], HeteroData] | None = None,
        pre_filter: Callable[[HeteroData], bool] | None = None,
        force_reload: bool = False,
    ) -> None:
        self._manifest: dict[str, Any] = {
            'format': _FORMAT,
            'num_users': num_users,
            'num_items': num_items,
            'seed': seed,
            'image_size': image_size,
            'mean_interactions': float(mean_interactions),
            'taste_strength': float(taste_strength),
            'popularity_strength': float(popularity_strength),
            'missing_image_share': float(missing_image_share),
            'missing_title_share': float(missing_title_share),
            'new_item_share': float(new_item_share),
        }
        _check_arguments(self._manifest)
        self.image_encoder = PixelEncoder() if image_encoder is None else image_encoder
        self.text_encoder = TitleEncoder() if text_encoder is None else text_encoder
        self._manifest_path = Path(root).expanduser() / 'raw' / 'manifest.json'
        self._check_manifest(force_reload)
        super().__init__(
            str(root), transform, pre_transform, pre_filter, log=False, force_reload=force_reload
        )
        self._items = _read_items(Path(self.raw_dir))
        path = Path(self.processed_paths[0])
        check_sealed(path, _GENERATE_AGAIN)
        self._data = HeteroData.from_dict(torch.load(path, weights_only=True))

    def _check_manifest(self, force_reload: bool) -> None:
        if not self._manifest_path.exists():
            return
        if force_reload:
            self._manifest_path.unlink()  # A raw folder without it is incomplete.
            return
        found = read_json(self._manifest_path, _GENERATE_AGAIN)
        names = [n for n in self._manifest if found.get(n) != self._manifest[n]]
        if names:
            differences = (f'{n}={found.get(n)!r} not {self._manifest[n]!r}' for n in names)
            raise ValueError(
                f"'root' holds a shop with other arguments ({', '.join(differences)}); use another "
                'root, or pass force_reload=True to generate it again'
            )
        for name, sha256 in found['files'].items():
            check_sha256(self._manifest_path.parent / name, sha256, _GENERATE_AGAIN)

    @property
    def raw_file_names(self) -> list[str]:
        """The raw files, without the pictures; the manifest is written last."""
        names = ['items.csv', 'attributes.csv', 'interactions.csv', 'ground_truth.npz']
        return [*names, 'manifest.json']

    @property
    def processed_file_names(self) -> list[str]:
        """The processed graph, whose name depends on all arguments that change it."""
        key = [self._manifest, self.image_encoder.fingerprint, self.text_encoder.fingerprint]
        key += [repr(f) for f in (self.pre_transform, self.pre_filter) if f is not None]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return [f'shop_{digest[:16]}.pt']

    @property
    def titles(self) -> list[str | None]:
        """The title of each item, :obj:`None` where it has none."""
        return [title for title, _ in self._items]

    @property
    def image_paths(self) -> list[Path | None]:
        """The picture of each item, :obj:`None` where it has none."""
        return [path for _, path in self._items]

    def true_utility(self) -> Tensor:
        """Return the true utility of every item for every user, without the noise.

        It gives the best possible ranking, for comparison in a table of results; it must never be
        an input of a model.

        Returns:
            Utilities of shape ``[num_users, num_items]``.
        """
        user, item = self._data['user'], self._data['item']
        return user.taste @ item.attributes.t() + item.popularity

    def download(self) -> None:
        """Generate the raw files. PyG calls this method; nothing is downloaded."""
        require_pillow()
        arguments = self._manifest
        seed, num_users, num_items = (arguments[n] for n in ('seed', 'num_users', 'num_items'))
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(7)]
        kinds, pictures, titles, gaps, appeal, tastes, purchases = streams

        attributes = draw_attributes(num_items, kinds)
        has_picture = _all_but(arguments['missing_image_share'], num_items, gaps)
        has_title = _all_but(arguments['missing_title_share'], num_items, gaps)
        on_sale = _all_but(arguments['new_item_share'], num_items, gaps)
        popularity = appeal.normal(0, arguments['popularity_strength'], num_items)
        truth = {
            'taste': draw_taste(num_users, arguments['taste_strength'], tastes),
            'attributes': attribute_one_hot(attributes),
            'popularity': popularity.astype(np.float32),
        }
        interactions = draw_interactions(
            **truth,
            on_sale=on_sale,
            mean_interactions=arguments['mean_interactions'],
            rng=purchases,
        )

        raw = Path(self.raw_dir)
        values = [_named(row) for row in attributes.tolist()]
        _write_pictures(raw / 'images', values, has_picture, arguments['image_size'], pictures)
        _write_items(raw, values, has_picture, has_title, titles)
        _write_csv(raw / 'interactions.csv', Interactions._fields, zip(*interactions, strict=True))
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **truth)
        write_atomically(raw / 'ground_truth.npz', buffer.getvalue())
        if hasattr(os, 'sync'):  # Not on Windows.
            os.sync()  # All pictures at once, before the manifest declares the shop complete.
        written = sorted([*raw.glob('images/*.png'), *raw.glob('*.csv'), *raw.glob('*.npz')])
        files = {path.relative_to(raw).as_posix(): sha256_of(path) for path in written}
        write_json(self._manifest_path, {**arguments, 'files': files})

    def process(self) -> None:
        """Encode pictures and titles, transform the graph and write it.

        Raises:
            ValueError: If ``pre_filter`` refuses the graph.
        """
        raw = Path(self.raw_dir)
        titles, paths = zip(*_read_items(raw), strict=True)
        data = HeteroData()
        data['user'].num_nodes = self._manifest['num_users']
        data['item'].num_nodes = len(titles)
        data['item'].x_image, data['item'].has_image = self.image_encoder.encode_images(paths)
        data['item'].x_text, data['item'].has_text = self.text_encoder.encode_texts(titles)
        with np.load(raw / 'ground_truth.npz', allow_pickle=False) as truth:
            data['user'].taste = torch.from_numpy(truth['taste'])
            data['item'].attributes = torch.from_numpy(truth['attributes'])
            data['item'].popularity = torch.from_numpy(truth['popularity'])
        table = np.loadtxt(raw / 'interactions.csv', np.int64, delimiter=',', skiprows=1, ndmin=2)
        interacts = data['user', 'interacts', 'item']
        interacts.edge_index = torch.from_numpy(table[:, :2].T.copy())
        interacts.time = torch.from_numpy(table[:, 2].copy())
        if self.pre_filter is not None and not self.pre_filter(data):
            raise ValueError("'pre_filter' refuses the only graph of the shop; leave it out")
        data = data if self.pre_transform is None else self.pre_transform(data)
        with open_sealed(self.processed_paths[0]) as file:
            torch.save(data.to_dict(), file)

    def _process(self) -> None:
        # PyG's own version writes the `repr` of 'pre_transform' and 'pre_filter' into pickles,
        # unpickles them without restriction and only warns of another. Here the name has it.
        path = Path(self.processed_paths[0])
        if self.force_reload or not path.exists():
            make_folder(path.parent)
            self.process()

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_users={self._manifest["num_users"]}, '
            f'num_items={self._manifest["num_items"]}, seed={self._manifest["seed"]})'
        )


def _check_arguments(arguments: dict[str, Any]) -> None:
    for name in ('num_users', 'num_items', 'image_size'):
        check_positive(name, arguments[name])
    for name in ('taste_strength', 'popularity_strength'):
        check_not_negative(name, arguments[name])
    check_not_negative('seed', arguments['seed'], integer=True)
    if not 1 <= arguments['mean_interactions'] < float('inf'):
        raise ValueError(
            "'mean_interactions' must be a finite number of at least 1 "
            f'(got {arguments["mean_interactions"]!r})'
        )
    for name in ('missing_image_share', 'missing_title_share', 'new_item_share'):
        check_fraction(name, arguments[name])
    if round(arguments['new_item_share'] * arguments['num_items']) >= arguments['num_items']:
        raise ValueError(
            f"'new_item_share' leaves no item with interactions (got "
            f'{arguments["new_item_share"]!r} of {arguments["num_items"]} items); lower it'
        )


def _all_but(share: float, num_items: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    kept = np.ones(num_items, dtype=bool)
    kept[rng.permutation(num_items)[: round(share * num_items)]] = False
    return kept


def _named(row: Sequence[int]) -> dict[str, str]:
    columns = zip(row, ATTRIBUTES.items(), strict=True)
    return {name: values[index] for index, (name, values) in columns}


def _picture_name(item: int) -> str:
    return f'{item:05d}.png'


def _write_pictures(
    folder: Path,
    values: list[dict[str, str]],
    has_picture: NDArray[np.bool_],
    size: int,
    rng: np.random.Generator,
) -> None:
    make_folder(folder)
    remove_leftovers(folder)
    for stale in folder.glob('[0-9][0-9][0-9][0-9][0-9]*.png'):
        stale.unlink()
    for item, (of_item, stream) in enumerate(zip(values, rng.spawn(len(values)), strict=True)):
        if not has_picture[item]:
            continue
        picture = draw_product(
            of_item['shape'], of_item['colour'], of_item['pattern'], size, stream
        )
        buffer = io.BytesIO()
        picture.save(buffer, format='PNG', compress_level=1)
        write_atomically(folder / _picture_name(item), buffer.getvalue(), sync=False)


def _write_items(
    raw: Path,
    values: list[dict[str, str]],
    has_picture: NDArray[np.bool_],
    has_title: NDArray[np.bool_],
    rng: np.random.Generator,
) -> None:
    titles = [write_title(of_item, stream) for of_item, stream in _each(values, rng)]
    rows = [
        (
            item,
            title if has_title[item] else '',
            f'images/{_picture_name(item)}' if has_picture[item] else '',
        )
        for item, title in enumerate(titles)
    ]
    _write_csv(raw / 'items.csv', ('item', 'title', 'image'), rows)
    attribute_rows = [(item, *of_item.values()) for item, of_item in enumerate(values)]
    _write_csv(raw / 'attributes.csv', ('item', *ATTRIBUTES), attribute_rows)


def _each(
    values: list[dict[str, str]], rng: np.random.Generator
) -> list[tuple[dict[str, str], np.random.Generator]]:
    return list(zip(values, rng.spawn(len(values)), strict=True))


def _write_csv(path: Path, header: Sequence[str], rows: Any) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _read_items(raw: Path) -> list[tuple[str | None, Path | None]]:
    with open(raw / 'items.csv', encoding='utf-8', newline='') as file:
        return [
            (row['title'] or None, raw / row['image'] if row['image'] else None)
            for row in csv.DictReader(file)
        ]
