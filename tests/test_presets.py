from dataclasses import replace

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef import presets
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import FREEDOM, MMGEF, recommenders
from pyg_mmgef.presets import ITEM_DROPOUT, MERGED, PAPER
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    MergeItemGraphs,
)
from tests.nn.models.shops import small_shop
from tests.transforms.shops import random_shop

WEIGHTS = {'similar': 1.0, 'co_interacts': 0.5}
SMALL = replace(
    MERGED,
    transforms=(
        FuseModalities('concat'),
        AddItemKNNGraph(4),
        AddCoInteractionGraph(4),
        MergeItemGraphs(WEIGHTS),
    ),
)


def shop() -> HeteroData:
    return SMALL.transform()(random_shop())


def test_is_what_was_tuned() -> None:
    """The numbers behind the results in the documentation."""
    assert (MERGED.lr, MERGED.loss().l2) == (1e-3, 1e-3)
    model = MERGED.model(shop())
    assert isinstance(model, MMGEF)
    assert model.light_gcn.embedding_dim == 128
    assert model.light_gcn.edge_dropout == 0.8
    assert model.item_graphs == ('merged',)


def test_transform_is_these_steps() -> None:
    data = random_shop()
    expected = AddItemKNNGraph(k=10)(FuseModalities('concat')(data))
    expected = AddCoInteractionGraph(k=10, min_count=3)(expected)
    expected = MergeItemGraphs({'similar': 1.0, 'co_interacts': 0.5})(expected)
    out = MERGED.transform()(data)
    assert out.edge_types == expected.edge_types
    for edge_type in out.edge_types:
        assert torch.equal(out[edge_type].edge_index, expected[edge_type].edge_index)


def test_a_similar_graph_of_the_data_is_kept() -> None:
    data = small_shop(('similar',))
    graph = data['item', 'similar', 'item'].edge_index
    out = SMALL.transform(build_similar=False)(data)
    assert out['item', 'similar', 'item'].edge_index is graph
    assert 'x' not in out['item']
    model = SMALL.model(out, embedding_dim=4)
    assert isinstance(model, MMGEF)
    assert model.item_graphs == ('merged',)


def test_is_what_it_says() -> None:
    """Without features and with the graphs merged, the parts are those of another model."""
    data = shop()
    model = MERGED.model(data)
    assert isinstance(model, MMGEF)
    other = FREEDOM.from_data(
        data,
        item_graphs=WEIGHTS,
        in_channels=None,
        embedding_dim=128,
        num_item_layers=2,
    )
    other.light_gcn.load_state_dict(model.light_gcn.state_dict())
    torch.testing.assert_close(model.eval()(data), other.eval()(data))


def test_trains() -> None:
    data = shop()
    model = MERGED.model(data, embedding_dim=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    loader = TripletLoader(
        data, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    losses = []
    for epoch in range(30):
        model.start_epoch(data, epoch)
        for batch in loader:
            loss = model.loss(data, *batch, MERGED.loss())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_bad_data_says_which_graph_is_missing() -> None:
    with pytest.raises(ValueError, match=r"no item graph .*'merged'"):
        MERGED.model(random_shop())
    with pytest.raises(ValueError, match=r"no item graph .*'similar_audio'"):
        replace(SMALL, transforms=(MergeItemGraphs({'similar_audio': 1.0}),)).transform()(
            random_shop()
        )


@pytest.mark.parametrize('name', [name for name in presets.__all__ if name != 'Preset'])
def test_each_is_a_model_on_data_with_and_without_features(name: str) -> None:
    preset = getattr(presets, name)
    data = random_shop()
    model = preset.model(preset.transform()(data))
    assert type(model) is recommenders()[preset.recommender]
    given = small_shop(('similar',))
    for key in ('x_image', 'x_text', 'has_image'):
        del given['item'][key]
    options = {'fusion': 'mean'} if preset in (PAPER, ITEM_DROPOUT) else {}
    out = preset.transform(build_similar=False)(given)
    z_user, z_item = preset.model(out, **options).double().eval()(out)
    assert z_user.isfinite().all()
    assert z_item.isfinite().all()
