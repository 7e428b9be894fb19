from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.explain import Explainer, GNNExplainer

from pyg_mmgef.nn import MMGEF, ExplainableMMGEF
from pyg_mmgef.schema import INTERACTS, ITEM, USER
from tests.nn.models.shops import NUM_ITEMS, NUM_USERS, interacting, small_shop

FORMS: list[dict[str, Any]] = [
    {},
    {'attention': 'node', 'item_readout': 'mean', 'num_item_layers': 2},
    {'attention': 'edge', 'item_input': 'sum'},
    {'attention': 'mean', 'item_input': 'id', 'normalize_item': False},
    {'skip_weight': 0.5, 'k': 2, 'fusion': 'gated'},
    {'num_item_layers': 0, 'num_layers': 3, 'edge_dropout': 0.5},
    {'item_graphs': ()},
]
SIMILAR = (ITEM, 'similar', ITEM)


def trained(data: HeteroData, **options: Any) -> MMGEF:
    torch.manual_seed(0)
    model = MMGEF.from_data(data, embedding_dim=5, **{'skip_weight': 1.0, **options}).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model.start_epoch(data, 0)
    return model.eval()


@pytest.mark.parametrize('options', FORMS, ids=[str(form) for form in FORMS])
def test_scores_are_those_of_the_model(options: dict[str, Any]) -> None:
    data = small_shop()
    model = trained(data, **options)
    z_user, z_item = model.embed(data, None, None)
    pairs = torch.cartesian_prod(torch.arange(NUM_USERS), torch.arange(NUM_ITEMS)).t()
    scores = ExplainableMMGEF(model, data)
    graph = scores.graph
    weights = graph.edge_weight_dict
    out = scores(graph.x_dict, graph.edge_index_dict, weights, pairs)
    expected = (z_user @ z_item.t()).flatten()
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def explained(scores: ExplainableMMGEF, user: int, item: int) -> Any:
    torch.manual_seed(0)
    explainer = Explainer(
        scores,
        GNNExplainer(epochs=200, lr=0.05),
        explanation_type='model',
        node_mask_type='object',
        edge_mask_type='object',
        model_config={'mode': 'regression', 'task_level': 'edge', 'return_type': 'raw'},
    )
    graph = scores.graph
    return explainer(
        graph.x_dict,
        graph.edge_index_dict,
        edge_weight_dict=graph.edge_weight_dict,
        edge_label_index=torch.tensor([[user], [item]]),
    )


def test_an_explanation_names_the_edges_that_carry_a_score() -> None:
    # Item 3 is cold. Only item 1 is similar to it, and only user 0 likes what that looks like.
    data = interacting(torch.tensor([[0, 0, 1], [0, 1, 2]]), 2, 4)
    data[ITEM].x_text = torch.eye(4)
    data[SIMILAR].edge_index = torch.tensor([[0, 1, 2], [2, 3, 0]])
    data[SIMILAR].edge_weight = torch.ones(3)
    scores = ExplainableMMGEF(trained(data), data)
    explanation = explained(scores, user=0, item=3)
    assert explanation[INTERACTS].edge_mask.shape == (3,)
    assert explanation[USER].node_mask.shape == (2, 1)
    mask = explanation[SIMILAR].edge_mask
    assert mask.argmax() == 1
    assert mask[[0, 2]].eq(0).all()


def test_explaining_leaves_the_model_as_it_was() -> None:
    data = small_shop()
    model = trained(data)
    before = model(data)
    explained(ExplainableMMGEF(model, data), 0, 1)
    torch.testing.assert_close(model(data), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())
