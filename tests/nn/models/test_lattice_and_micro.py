"""What LATTICE and MICRO share."""

import copy
import io
import re
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import LATTICE, MICRO
from pyg_mmgef.schema import INTERACTS, ITEM
from pyg_mmgef.transforms import AddItemKNNGraph
from tests.nn.models.latent import latent_graphs, move
from tests.nn.models.shops import CHANNELS, COLD, NUM_ITEMS, interacting, small_shop
from tests.references import dense_adjacency

BOTH = {'image': CHANNELS, 'text': CHANNELS}
RELATIONS = ('similar_image', 'similar_text')
Model = type[LATTICE] | type[MICRO]


@pytest.fixture(params=[LATTICE, MICRO])
def cls(request: pytest.FixtureRequest) -> Model:
    model: Model = request.param
    return model


def model_of(cls: Model, data: HeteroData, seed: int = 0, **kwargs: Any) -> LATTICE | MICRO:
    torch.manual_seed(seed)
    kwargs = {'embedding_dim': 5, 'skip_weight': 0.5, 'k': 3, **kwargs}
    return cls.from_data(data, **kwargs).double()


def channels_of(model: LATTICE | MICRO) -> dict[str, int]:
    features = latent_graphs(model).features
    assert features is not None
    return features.in_channels


def test_modalities_are_those_of_the_data(cls: Model) -> None:
    model = model_of(cls, small_shop())
    assert latent_graphs(model).item_graphs is None
    assert channels_of(model) == BOTH
    assert [lin.in_features for lin in latent_graphs(model).lins] == [CHANNELS, CHANNELS]


def test_a_single_feature_matrix_is_a_modality(cls: Model) -> None:
    data = small_shop(())
    data[ITEM].x = data[ITEM].x_text[:, :3]
    del data[ITEM].x_image, data[ITEM].x_text, data[ITEM].has_image
    model = model_of(cls, data)
    assert channels_of(model) == {'x': 3}
    assert model(data)[1].isfinite().all()


def test_data_without_content_is_refused(cls: Model) -> None:
    data = interacting(torch.tensor([[0], [0]]), 2, 3)
    message = f"'data' has no item features, which {cls.__name__} needs; set data['item'].x_"
    with pytest.raises(ValueError, match=re.escape(message)):
        cls.from_data(data)


def test_graphs_of_the_data_are_the_frozen_part(cls: Model) -> None:
    """Built by the transform or by the model, they are the same."""
    data = small_shop()
    given = small_shop()
    for name in BOTH:
        given[ITEM][f'x_{name}'][~given[ITEM].get(f'has_{name}', torch.ones(NUM_ITEMS) > 0)] = 0.0
        transform = AddItemKNNGraph(3, attr=f'x_{name}', relation=f'similar_{name}', loop=True)
        given = transform(given)
    model, other = model_of(cls, data), model_of(cls, given)
    assert latent_graphs(other).item_graphs == RELATIONS
    torch.testing.assert_close(other(given), model(data))
    given[ITEM, 'similar_text', ITEM].edge_weight = (
        given[ITEM, 'similar_text', ITEM].edge_weight / 9
    )
    assert not torch.allclose(other(given)[1], model(data)[1])


def test_graphs_of_some_modalities_are_not_enough(cls: Model) -> None:
    data = small_shop(('similar', 'similar_text'))
    assert latent_graphs(model_of(cls, data)).item_graphs is None


def test_graphs_without_features_are_frozen(cls: Model) -> None:
    data = small_shop(RELATIONS)
    with_features = model_of(cls, data, skip_weight=1.0)
    out = with_features(data)
    del data[ITEM].x_image, data[ITEM].x_text, data[ITEM].has_image
    torch.testing.assert_close(with_features(data), out)
    torch.manual_seed(0)
    model = cls.from_data(data, embedding_dim=5).double()
    assert latent_graphs(model).skip_weight == 1
    torch.testing.assert_close(model(data), out)
    model.start_epoch(data, 0)
    torch.testing.assert_close(model(data), out)
    assert torch.equal(model_of(cls, data, skip_weight=1.0)(data)[1], model(data)[1])


def test_graphs_by_name(cls: Model) -> None:
    data = small_shop(('other', 'another'))
    names = ('another', 'other')
    model = model_of(cls, data, item_graphs=names)
    assert latent_graphs(model).item_graphs == names
    for name, graph in zip(names, latent_graphs(model)(data), strict=True):
        given = data[ITEM, name, ITEM]
        size = NUM_ITEMS, NUM_ITEMS
        dense = dense_adjacency(given.edge_index, 0.5 * given.edge_weight, *size)
        torch.testing.assert_close(graph.frozen.matrix(torch.double).to_dense(), dense)
    del data[ITEM].x_image, data[ITEM].x_text, data[ITEM].has_image
    alone = cls.from_data(data, item_graphs=names)
    assert (latent_graphs(alone).item_graphs, latent_graphs(alone).skip_weight) == (names, 1)


def test_learned_neighbors_follow_the_schedule(cls: Model) -> None:
    data = small_shop()
    model = model_of(cls, data, rebuild_every=3, k=2)
    before = None
    for epoch in range(7):
        move(latent_graphs(model))
        model.start_epoch(data, epoch)
        chosen = [index.clone() for index in latent_graphs(model).get_extra_state().values()]
        if before is not None:
            same = all(map(torch.equal, chosen, before))
            assert same is (epoch % 3 != 0)
        before = chosen


def test_learned_neighbors_are_chosen_when_first_needed(cls: Model) -> None:
    data = small_shop()
    lazy, eager = (model_of(cls, data) for _ in range(2))
    eager.start_epoch(data, 0)
    torch.testing.assert_close(lazy(data), eager(data))


def test_neighbors_survive_a_checkpoint(cls: Model) -> None:
    data = small_shop()
    model = model_of(cls, data, skip_weight=0.1, k=2)
    model.start_epoch(data, 0)
    move(latent_graphs(model))  # The neighbours are now older than the projection.
    out = model(data)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    restored = model_of(cls, data, seed=1, skip_weight=0.1, k=2)
    restored(data)
    restored.load_state_dict(state)
    assert all(map(torch.equal, restored(data), out))
    restored.start_epoch(data, 0)
    assert not torch.allclose(restored(data)[1], out[1])


def test_checkpoint_without_neighbors_chooses_them(cls: Model) -> None:
    data = small_shop()
    model = model_of(cls, data)
    state = copy.deepcopy(model.state_dict())
    restored = model_of(cls, data, seed=1)
    restored(data)
    restored.load_state_dict(state)
    torch.testing.assert_close(restored(data), model(data))


def test_what_is_random_never_reaches_a_cold_item(cls: Model) -> None:
    data = small_shop()
    model = model_of(cls, data)
    before = model(data)
    z_user, z_item = before
    grad = torch.autograd.grad(
        z_user.sum() + z_item.pow(3).sum(), model.light_gcn.item_embedding.weight
    )
    assert not grad[0][COLD].any()
    with torch.no_grad():
        model.light_gcn.item_embedding.weight[COLD] += 100.0
    torch.testing.assert_close(model(data), before)
    assert z_item[COLD].norm(dim=1).allclose(torch.ones(2).double())


def test_an_item_without_content_has_its_light_gcn_part_alone(cls: Model) -> None:
    data = small_shop()
    model = model_of(cls, data)
    torch.testing.assert_close(model(data)[1][6], model.light_gcn(data)[1][6])
    assert not torch.allclose(model(data)[1][5], model.light_gcn(data)[1][5])


def test_no_item_has_content(cls: Model) -> None:
    data = small_shop()
    for name in BOTH:
        data[ITEM][f'x_{name}'] = torch.zeros(NUM_ITEMS, CHANNELS)
    model = model_of(cls, data)
    model.start_epoch(data, 0)
    z_user, z_item = model(data)
    (z_user.sum() + z_item.pow(2).sum()).backward()
    assert not z_item[COLD].any()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_single_item(cls: Model) -> None:
    data = interacting(torch.tensor([[0], [0]]), 2, 1)
    data[ITEM].x_text = torch.ones(1, 4)
    model = cls.from_data(data)
    model.start_epoch(data, 0)
    z_item = model(data)[1]
    h = model.light_gcn.item_embedding.weight  # Its own neighbour.
    torch.testing.assert_close(z_item, model.light_gcn(data)[1] + h / h.norm())


def test_features_of_other_precision(cls: Model) -> None:
    data = small_shop()
    for name in BOTH:
        data[ITEM][f'x_{name}'] = data[ITEM][f'x_{name}'].float()
    z_user, z_item = model_of(cls, data)(data)
    assert z_user.dtype == z_item.dtype == torch.double
    torch.testing.assert_close(
        (z_user, z_item), model_of(cls, small_shop())(small_shop()), rtol=1e-5, atol=1e-6
    )


def test_first_seen_in_inference_mode(cls: Model) -> None:
    data = small_shop()
    model = model_of(cls, data)
    with torch.inference_mode():
        expected = model(data)
    out = model(data)
    torch.testing.assert_close(out, expected)
    out[1].pow(2).sum().backward()
    assert model.light_gcn.item_embedding.weight.grad is not None


def test_other_interactions_are_read(cls: Model) -> None:
    data = small_shop()
    model = model_of(cls, data)
    before = model(data)[1]
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :6]
    assert not torch.allclose(model(data)[1], before)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'in_channels': None}, "'in_channels' is needed to build item graphs"),
        ({'in_channels': {}}, "'in_channels' is needed to build item graphs"),
        (
            {'in_channels': None, 'item_graphs': ('a',)},
            "'in_channels' is needed to learn item graphs (got skip_weight=0.9)",
        ),
        ({'item_graphs': ('a',)}, "one relation for each modality ['image', 'text'] (got ('a',))"),
        ({'item_graphs': 'ab'}, "'item_graphs' must name relations or be None (got 'ab')"),
        ({'item_graphs': ()}, "'item_graphs' must name relations or be None (got ())"),
    ],
)
def test_arguments_that_do_not_fit_each_other(
    cls: Model, options: dict[str, Any], message: str
) -> None:
    build: Any = cls
    with pytest.raises(ValueError, match=re.escape(message)):
        build(2, 3, **{'in_channels': BOTH, **options})


def test_data_that_does_not_fit(cls: Model) -> None:
    data = small_shop()
    model = model_of(cls, data)
    del data[ITEM].x_image
    with pytest.raises(ValueError, match=r"lacks the item features \['image'\]"):
        model(data)
    data[ITEM].x_image = torch.ones(NUM_ITEMS, CHANNELS + 1)
    with pytest.raises(ValueError, match="5 channels for 'image'"):
        model(data)
    frozen = model_of(cls, small_shop(RELATIONS), skip_weight=1.0)
    with pytest.raises(ValueError, match=r"no item graph \('item', 'similar_image', 'item'\)"):
        frozen(small_shop(()))
