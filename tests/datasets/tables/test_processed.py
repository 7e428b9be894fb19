from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.files import open_sealed
from pyg_mmgef.transforms import AddItemKNNGraph
from tests.flips import outcomes

pa = pytest.importorskip('pyarrow')

SIMILAR = ('item', 'similar', 'item')
X = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])


class CountedKNNGraph(AddItemKNNGraph):
    """Counts how often a graph is built."""

    calls = 0

    def forward(self, data: HeteroData) -> HeteroData:
        type(self).calls += 1
        return super().forward(data)


@pytest.fixture(autouse=True)
def _count_from_zero() -> None:
    CountedKNNGraph.calls = 0


def tables(root: Path | None, *, x: torch.Tensor = X, **options: Any) -> InteractionTables:
    orders = pa.table({'user_id': [1, 1, 2, 2], 'item_id': [0, 1, 1, 2]})
    dataset = InteractionTables(orders, root=root, **options)
    return dataset.add_features('text', x)


def knn(k: int = 1) -> BaseTransform:
    return CountedKNNGraph(k, attr='x_text')


def stored(root: Path) -> list[Path]:
    return sorted((root / 'processed').iterdir())


def same(a: HeteroData, b: HeteroData) -> bool:
    return all(
        torch.equal(a[key][name], value) if isinstance(value, torch.Tensor) else True
        for key in b.node_types + b.edge_types
        for name, value in b[key].items()
    )


def test_the_processed_file_holds_the_graph_and_is_read_again(tmp_path: Path) -> None:
    first = tables(tmp_path, pre_transform=knn())
    expected = AddItemKNNGraph(1, attr='x_text')(tables(None)[0])
    assert same(first[0], expected)
    assert same(first[0], expected)
    assert CountedKNNGraph.calls == 1
    (file,) = stored(tmp_path)
    graph = HeteroData.from_dict(torch.load(file, weights_only=True)['graph'])
    assert torch.equal(graph[SIMILAR].edge_index, expected[SIMILAR].edge_index)
    assert torch.equal(graph[SIMILAR].edge_weight, expected[SIMILAR].edge_weight)
    second = tables(tmp_path, pre_transform=knn())
    assert same(second[0], expected)
    assert set(second[0].edge_types) == set(expected.edge_types)
    assert CountedKNNGraph.calls == 1


def test_what_is_read_is_the_file(tmp_path: Path) -> None:
    tables(tmp_path, pre_transform=knn())[0]
    (file,) = stored(tmp_path)
    content = torch.load(file, weights_only=True)
    content['graph'][SIMILAR]['edge_weight'] += 7
    with open_sealed(file) as out:
        torch.save(content, out)
    assert float(tables(tmp_path, pre_transform=knn())[0][SIMILAR].edge_weight.min()) > 7


@pytest.mark.parametrize(
    ('options', 'name'),
    [
        ({'pre_transform': knn(2)}, 'pre_transform'),
        ({'pre_transform': knn(), 'pre_filter': bool}, 'pre_filter'),
    ],
)
def test_a_changed_argument_warns_and_the_stored_graph_is_used(
    tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    before = tables(tmp_path, pre_transform=knn())[0]
    with pytest.warns(UserWarning, match=f"'{name}' is .* pass force_reload=True") as caught:
        data = tables(tmp_path, **options)[0]
    assert [Path(one.filename).name for one in caught] == [Path(__file__).name]
    assert same(data, before)
    changed = tables(tmp_path, force_reload=True, **options)[0]
    assert CountedKNNGraph.calls == 2
    assert same(tables(tmp_path, **options)[0], changed)
    assert CountedKNNGraph.calls == 2


def test_an_address_is_no_change(tmp_path: Path) -> None:
    def transform_of_a_process() -> Callable[[HeteroData], HeteroData]:
        return lambda data: data

    tables(tmp_path, pre_transform=transform_of_a_process())[0]
    tables(tmp_path, pre_transform=transform_of_a_process())[0]
    assert len(stored(tmp_path)) == 1


def test_other_data_are_processed_anew(tmp_path: Path) -> None:
    tables(tmp_path, pre_transform=knn())[0]
    changed = tables(tmp_path, x=X.flip(0).contiguous(), pre_transform=knn())[0]
    assert changed[SIMILAR].edge_index.tolist() == [[1, 2, 1], [0, 1, 2]]
    tables(tmp_path, pre_transform=knn(), duplicates='first', k_core=1)[0]
    assert (CountedKNNGraph.calls, len(stored(tmp_path))) == (2, 2)


def test_features_added_later_are_in_it() -> None:
    dataset = tables(None, pre_transform=knn())
    assert 'x_image' not in dataset[0]['item']
    dataset.add_features('image', X)
    assert torch.equal(dataset[0]['item'].x_image, X)
    assert CountedKNNGraph.calls == 2
    dataset[0]['item'].x_image = None  # A copy.
    assert torch.equal(dataset[0]['item'].x_image, X)


def test_transform_comes_after_and_every_time(tmp_path: Path) -> None:
    seen: list[bool] = []

    def transform(data: HeteroData) -> HeteroData:
        seen.append(SIMILAR in data.edge_types)
        return data

    dataset = tables(tmp_path, pre_transform=knn(), transform=transform)
    dataset[0], dataset[0]
    assert seen == [True, True]
    assert CountedKNNGraph.calls == 1


def test_a_filter_is_a_check(tmp_path: Path) -> None:
    dataset = tables(tmp_path, pre_filter=lambda data: data['user'].num_nodes > 2)
    with pytest.raises(ValueError, match="'pre_filter' refuses the only graph"):
        dataset[0]
    assert tables(tmp_path, pre_filter=lambda data: data['user'].num_nodes == 2)[0] is not None


def test_without_either_nothing_is_written(tmp_path: Path) -> None:
    tables(tmp_path)[0]
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file(tmp_path: Path) -> None:
    expected = tables(tmp_path, pre_transform=knn())[0]
    (file,) = stored(tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r'is damaged .* force_reload=True'):
        tables(tmp_path, pre_transform=knn())[0]
    assert same(tables(tmp_path, pre_transform=knn(), force_reload=True)[0], expected)
    assert same(tables(tmp_path, pre_transform=knn())[0], expected)


def test_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    def weights() -> list[float]:
        return tables(tmp_path, pre_transform=knn())[0][SIMILAR].edge_weight.tolist()

    weights()
    assert outcomes(stored(tmp_path), weights, 60) == {'detected': 60, 'equal': 0}
