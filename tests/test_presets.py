import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import FREEDOM
from pyg_mmgef.presets import MERGED, Preset
from pyg_mmgef.transforms import AddCoInteractionGraph, AddItemKNNGraph, FuseModalities
from tests.nn.models.shops import small_shop
from tests.transforms.shops import random_shop


def shop() -> HeteroData:
    data = AddItemKNNGraph(k=4)(FuseModalities('concat')(random_shop()))
    return AddCoInteractionGraph(k=4)(data)


def test_is_what_it_says() -> None:
    """Without features and with the graphs merged, the parts are those of another model."""
    data, model = MERGED.build(shop())
    assert model.light_gcn.embedding_dim == 128
    other = FREEDOM.from_data(
        data,
        graph_weights=MERGED.graph_weights,
        in_channels=None,
        embedding_dim=128,
        num_item_layers=2,
    )
    other.light_gcn.load_state_dict(model.light_gcn.state_dict())
    torch.testing.assert_close(model.eval()(data), other.eval()(data))


def test_trains() -> None:
    data, model = MERGED.build(shop(), embedding_dim=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    loader = TripletLoader(
        data, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    losses = []
    for epoch in range(30):
        model.start_epoch(data, epoch)
        for batch in loader:
            loss = model.loss(data, *batch, MERGED.loss_fn())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_bad_data_says_which_graph_is_missing() -> None:
    with pytest.raises(ValueError, match=r"no item graph .*'similar_audio'"):
        Preset({'similar_audio': 1.0}, {}, l2=0.0, lr=1e-3).build(small_shop())
