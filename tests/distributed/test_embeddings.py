"""Embeddings of all, by a sharded model of a sharded shop, against the model in one process."""

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.distributed import ShardedModel, ShardedTripletLoader, sharded_embeddings
from pyg_mmgef.nn import FREEDOM, MF, MMGEF, BPRLoss, LightGCN, Recommender
from tests.distributed.sharded_shop import by_user, shard_of
from tests.distributed.shop import gathered
from tests.distributed.together import run_together
from tests.loader.shops import sampled_shop

pytestmark = pytest.mark.distributed
pytest.importorskip('torchrec')

GRAPHS = {'similar': 0.4, 'co_interacts': 0.6}


def make(name: str, data: HeteroData) -> Recommender:
    if name == 'MF':
        return MF.from_data(data, embedding_dim=8)
    if name == 'LightGCN':
        return LightGCN.from_data(data, embedding_dim=8, num_layers=3)
    if name == 'FREEDOM':
        return FREEDOM.from_data(data, embedding_dim=8, item_graphs=GRAPHS, edge_dropout=0.0)
    return MMGEF.from_data(data, embedding_dim=8, num_item_layers=2, skip_weight=1.0)


def train_and_embed(name: str) -> dict[str, torch.Tensor]:
    data = by_user(sampled_shop(num_users=31))  # Doesn't divide evenly.
    shard = shard_of(data)
    with torch.device('meta'):
        model = make(name, data)
    sharded = ShardedModel(model, BPRLoss(), lr=0.1)
    num_layers = getattr(model, 'num_layers', 0)
    loader = ShardedTripletLoader(
        shard, [3] * num_layers, 40, num_item_layers=getattr(model, 'num_item_layers', 0)
    )
    sharded.train()
    for number, batch in enumerate(loader):
        loss = loader.loss_weight(number) * sharded(batch)
        sharded.optimizer.zero_grad()
        loss.backward()
        sharded.optimizer.step()
    sharded.eval()
    z_user, z_item = sharded_embeddings(sharded, shard, batch_size=5)
    state = dict(gathered(sharded))
    dense = {key: x for key, x in sharded.model.state_dict().items() if 'embedding' not in key}
    plain = make(name, data).eval()
    plain.content_map = None
    plain.load_state_dict({**state, **dense})
    with torch.no_grad():
        whole = plain(data)
    expected = whole[0][list(shard.users)], whole[1][list(shard.items)]
    torch.testing.assert_close(z_user, expected[0])
    torch.testing.assert_close(z_item, expected[1])
    return state


@pytest.mark.parametrize('name', ['MF', 'LightGCN', 'FREEDOM', 'MMGEF'])
def test_of_one_process_and_of_three(name: str) -> None:
    for size in (1, 3):
        states = run_together(train_and_embed, size, name)
        assert all(torch.equal(states[0][key], x) for key, x in states[-1].items())
