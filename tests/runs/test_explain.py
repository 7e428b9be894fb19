import pytest
import torch

from pyg_mmgef.nn import MF, LightGCN
from pyg_mmgef.runs.explain import explaining_part, shares_of_scores
from tests.nn.models.shops import small_shop


@pytest.mark.parametrize('num_layers', [0, 1, 2, 3])
def test_shares_and_the_own_parameters_make_the_score(num_layers: int) -> None:
    data = small_shop()
    torch.manual_seed(0)
    model = LightGCN.from_data(data, embedding_dim=8, num_layers=num_layers)
    with torch.inference_mode():
        z_user, z_item = model(data)
        own = model.user_embedding.weight / (num_layers + 1)
        for user in range(z_user.size(0)):
            items, shares = shares_of_scores(model, data, user, z_item)
            edge_index = data['user', 'interacts', 'item'].edge_index
            assert set(items.tolist()) == set(edge_index[1][edge_index[0] == user].tolist())
            score = shares.sum(dim=1) + z_item @ own[user]
            torch.testing.assert_close(score, z_item @ z_user[user])


def test_only_models_whose_users_are_those_of_light_gcn() -> None:
    data = small_shop()
    model = LightGCN.from_data(data, embedding_dim=8)
    with torch.inference_mode():
        z_user, _ = model(data)
    assert explaining_part(model, data, z_user) is model
    assert explaining_part(model, data, z_user + 1) is None
    assert explaining_part(MF.from_data(data), data, z_user) is None
