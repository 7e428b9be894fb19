import copy
import io
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import MMGEF
from pyg_mmgef.schema import INTERACTS, ITEM, USER, item_modalities
from pyg_mmgef.transforms import AddCoInteractionGraph, AddItemKNNGraph
from tests.nn.models.multimodal import train
from tests.nn.models.shops import (
    CHANNELS,
    COLD,
    NUM_ITEMS,
    interacting,
    interaction_matrix,
    planted_shop,
    small_shop,
)
from tests.references import (
    dense_adjacency,
    early_fusion_mean,
    mmgef,
    similarity,
    soft_attention,
    soft_fusion,
    symmetric_normalized,
    top_k_rows,
)

# Graphs are normalised and searched in float32.
close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)
ITEM_INPUTS = ['features', 'id', 'sum']
ATTENTIONS = ['graph', 'node', 'edge', 'mean']
BOTH = {'image': CHANNELS, 'text': CHANNELS}


def model_of(data: HeteroData, seed: int = 0, **kwargs: Any) -> MMGEF:
    """A model in double precision whose attention and fusion aren't at their start.

    Cold items have the embeddings of the paper, also in evaluation.
    """
    torch.manual_seed(seed)
    kwargs = {'embedding_dim': 5, 'skip_weight': 1.0, **kwargs}
    model = MMGEF.from_data(data, **kwargs).double()
    model.content_map = None
    for module in (model.fusion, model.item_encoder.attention):
        for parameter in [] if module is None else module.parameters():
            torch.nn.init.normal_(parameter)
    return model


def content_of(model: MMGEF, data: HeteroData) -> Tensor:
    """W e + b; the modes of early fusion other than the mean have tests of their own."""
    assert model.fusion is not None
    assert model.item_encoder.lin is not None
    x, has = item_modalities(data)
    if model.fusion.mode == 'mean':
        all_present = torch.ones(NUM_ITEMS, dtype=torch.bool)
        masks = [has.get(name, all_present) for name in x]
        e = early_fusion_mean(list(x.values()), masks)
    else:
        e = model.fusion(x, has)
    return e @ model.item_encoder.lin.weight.t() + model.item_encoder.lin.bias


def input_of(model: MMGEF, data: HeteroData) -> Tensor:
    is_warm = (interaction_matrix(data).sum(0) > 0)[:, None]
    embedding = model.light_gcn.item_embedding.weight * is_warm
    if model.item_input == 'id':
        return embedding
    content = content_of(model, data)
    return content if model.item_input == 'features' else content + embedding


def expected_of(
    model: MMGEF, data: HeteroData, learned: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The whole model on dense matrices."""
    matrices = []
    for relation in model.item_graphs:
        graph = data[ITEM, relation, ITEM]
        matrix = dense_adjacency(graph.edge_index, graph.edge_weight, NUM_ITEMS, NUM_ITEMS)
        if learned is not None and relation == 'similar':
            matrix = model.skip_weight * matrix + (1 - model.skip_weight) * learned
        matrices.append(matrix)
    h, fused = input_of(model, data), torch.eye(NUM_ITEMS, dtype=torch.double)
    fusion = model.item_encoder.attention
    if fusion is not None and fusion.logit is not None:
        weights = [None if lin is None else lin.weight for lin in (fusion.lin_dst, fusion.lin_src)]
        fused = soft_fusion(matrices, soft_attention(fusion.logit, h, *weights))
    elif fusion is not None:
        fused = torch.stack(matrices).mean(0)
    num_item_layers = model.item_encoder.num_layers
    if model.item_encoder.readout == 'mean' and fusion is not None:
        powers = [torch.matrix_power(fused, layer) for layer in range(num_item_layers + 1)]
        fused, num_item_layers = torch.stack(powers).mean(0), 1
    return mmgef(
        interaction_matrix(data),
        model.light_gcn.user_embedding.weight,
        model.light_gcn.item_embedding.weight,
        model.light_gcn.num_layers,
        h,
        fused,
        num_item_layers,
        model.normalize_item,
    )


def learned_of(model: MMGEF, data: HeteroData) -> Tensor:
    """The kNN graph of W e + b, of items that have content, normalised."""
    content = content_of(model, data).detach()
    scores = similarity(content, 'cosine').fill_diagonal_(-1)
    for item in range(NUM_ITEMS):
        if not data[ITEM].x_text[item].any() and not data[ITEM].x_image[item].any():
            scores[item] = scores[:, item] = -1
    return symmetric_normalized(top_k_rows(scores, model.item_encoder.graphs.k))


def check(model: MMGEF, data: HeteroData, learned: Tensor | None = None) -> None:
    """Compare embeddings, and the gradient of every parameter, with the dense model."""
    out, expected = model(data), expected_of(model, data, learned)
    close(out, expected)
    parameters = dict(model.named_parameters())
    grads, exact = (
        torch.autograd.grad(
            (z_user @ z_item.t()).square().sum() + z_item.pow(3).sum(),
            list(parameters.values()),
            allow_unused=True,
        )
        for z_user, z_item in (out, expected)
    )
    for name, grad, other in zip(parameters, grads, exact, strict=True):
        assert grad is not None, name
        other = torch.zeros_like(grad) if other is None else other
        torch.testing.assert_close(grad, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('num_item_layers', [0, 1, 2, 3])
@pytest.mark.parametrize('attention', ATTENTIONS)
@pytest.mark.parametrize('item_input', ITEM_INPUTS)
def test_equals_the_dense_reference(item_input: str, attention: str, num_item_layers: int) -> None:
    data = small_shop()
    model = model_of(
        data, item_input=item_input, attention=attention, num_item_layers=num_item_layers
    )
    check(model, data)


@pytest.mark.parametrize('num_layers', [0, 1, 3])
@pytest.mark.parametrize('num_item_layers', [0, 1, 2])
@pytest.mark.parametrize('item_input', ITEM_INPUTS)
def test_without_normalizing_the_item_part(
    item_input: str, num_item_layers: int, num_layers: int
) -> None:
    data = small_shop()
    options: dict[str, Any] = {'item_input': item_input, 'num_item_layers': num_item_layers}
    model = model_of(data, normalize_item=False, num_layers=num_layers, **options)
    check(model, data)
    other = model_of(data, num_layers=num_layers, **options)
    assert not torch.allclose(other(data)[1], model(data)[1])


@pytest.mark.parametrize('fusion', ['mean', 'weighted', 'gated', 'concat'])
@pytest.mark.parametrize('item_input', ['features', 'sum'])
def test_every_early_fusion(fusion: str, item_input: str) -> None:
    data = small_shop()
    check(model_of(data, item_input=item_input, fusion=fusion), data)


@pytest.mark.parametrize('attention', ATTENTIONS)
def test_late_fusion_has_a_graph_per_modality(attention: str) -> None:
    data = small_shop(('similar_image', 'similar_text', 'co_interacts'))
    model = model_of(data, attention=attention)
    assert model.item_graphs == ('similar_image', 'similar_text', 'co_interacts')
    check(model, data)
    model = model_of(data, attention=attention, item_graphs=('similar_text', 'similar_image'))
    check(model, data)


@pytest.mark.parametrize('relations', [('similar',), ('co_interacts',), ()])
@pytest.mark.parametrize('num_item_layers', [1, 2])
def test_one_graph_or_none(relations: tuple[str, ...], num_item_layers: int) -> None:
    data = small_shop(relations)
    model = model_of(data, num_item_layers=num_item_layers, item_graphs=relations)
    assert model.item_graphs == relations
    if relations:
        check(model, data)
    else:
        assert model.item_encoder.attention is None
        z_user, z_item = model(data)
        model.item_encoder.num_layers = 0
        close((z_user, z_item), expected_of(model, data))


@pytest.mark.parametrize('item_input', ITEM_INPUTS)
@pytest.mark.parametrize('normalize_item', [False, True])
@pytest.mark.parametrize('num_item_layers', [0, 1, 3])
def test_mean_of_the_item_layers(
    num_item_layers: int, normalize_item: bool, item_input: str
) -> None:
    data = small_shop()
    options: dict[str, Any] = {
        'num_item_layers': num_item_layers,
        'normalize_item': normalize_item,
        'item_input': item_input,
    }
    model = model_of(data, item_readout='mean', **options)
    check(model, data)
    same = torch.allclose(model(data)[1], model_of(data, **options)(data)[1])
    assert same is (num_item_layers == 0)


def test_item_dropout_makes_warm_items_cold() -> None:
    data = small_shop()
    model = model_of(data, item_dropout=0.3)
    z_user, z_item = model.eval()(data)
    torch.testing.assert_close((z_user, z_item), model_of(data)(data))
    content = z_item - model.light_gcn(data)[1]
    content[COLD] = z_item[COLD]
    model.train()
    num_dropped = 0
    for _ in range(100):
        z_user_drop, z_item_drop = model(data)
        assert torch.equal(z_user_drop, z_user)
        dropped = torch.isclose(z_item_drop, content).all(dim=1)
        kept = torch.isclose(z_item_drop, z_item).all(dim=1)
        assert bool((dropped | kept).all())
        num_dropped += int((dropped & ~kept).sum())
    assert 0.2 < num_dropped / (100 * (NUM_ITEMS - len(COLD))) < 0.4


def test_item_dropout_hides_the_embedding_from_the_neighbours_too() -> None:
    data = small_shop()
    model = model_of(data, item_input='id', item_dropout=0.999, normalize_item=False)
    torch.manual_seed(0)
    assert not model(data)[1].any()
    assert model.eval()(data)[1].any()


def test_edge_dropout_is_that_of_light_gcn() -> None:
    data = small_shop()
    model = model_of(data, edge_dropout=0.5, seed=3)
    model.eval()
    full, content = model(data), model(data)[1] - model.light_gcn(data)[1]
    model.train()
    model.start_epoch(data, epoch=1)
    z_user, z_item = model(data)
    assert not torch.allclose(z_user, full[0])
    light = model.light_gcn(data)
    assert torch.equal(z_user, light[0])
    warm = [item for item in range(NUM_ITEMS) if item not in COLD]  # By all interactions.
    torch.testing.assert_close(z_item[warm], light[1][warm] + content[warm])
    torch.testing.assert_close(model.eval()(data), full)


@pytest.mark.parametrize('attention', ATTENTIONS)
@pytest.mark.parametrize('item_input', ['features', 'sum'])
@pytest.mark.parametrize('skip_weight', [0.0, 0.6])
def test_learned_graph_is_mixed_in(skip_weight: float, item_input: str, attention: str) -> None:
    data = small_shop()
    model = model_of(data, skip_weight=skip_weight, item_input=item_input, attention=attention, k=2)
    learned = learned_of(model, data)
    assert int((learned > 0).sum()) > NUM_ITEMS
    frozen_only = expected_of(model, data)
    assert not torch.allclose(model(data)[1], frozen_only[1], atol=1e-3)
    check(model, data, learned)


def test_learned_graph_beside_others_in_any_order() -> None:
    data = small_shop(('similar', 'co_interacts', 'similar_text'))
    order = ('co_interacts', 'similar', 'similar_text')
    model = model_of(data, skip_weight=0.5, k=3, item_graphs=order)
    check(model, data, learned_of(model, data))


def test_learned_graph_follows_its_schedule() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=0.5, k=2, rebuild_every=3)
    assert model.item_encoder.lin is not None
    for epoch in range(7):
        torch.nn.init.normal_(model.item_encoder.lin.weight)
        if epoch % 3 == 0:
            learned = learned_of(model, data)
        model.start_epoch(data, epoch)
        close(model(data), expected_of(model, data, learned))
    assert not torch.allclose(learned, learned_of(model_of(data, skip_weight=0.5, k=2), data))


def test_learned_graph_is_built_when_first_needed() -> None:
    data = small_shop()
    lazy, eager = (model_of(data, skip_weight=0.5, k=2) for _ in range(2))
    eager.start_epoch(data, epoch=0)
    torch.testing.assert_close(lazy(data), eager(data))


def test_skip_weight_of_one_never_builds() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=1.0)
    out = model(data)
    for epoch in range(6):
        model.start_epoch(data, epoch)
    assert model.item_encoder.graphs.get_extra_state() == {}
    torch.testing.assert_close(model(data), out)


def test_k_beyond_the_number_of_items() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=0.5, k=100)
    check(model, data, learned_of(model, data))


def test_learned_graph_of_a_single_item() -> None:
    data = interacting(torch.tensor([[0], [0]]), 2, 1)
    data[ITEM].x_text = torch.ones(1, 4)
    graph = data[ITEM, 'similar', ITEM]
    graph.edge_index, graph.edge_weight = torch.empty(2, 0, dtype=torch.long), torch.empty(0)
    assert MMGEF.from_data(data)(data)[1].shape == (1, 64)


def test_learned_graph_survives_a_checkpoint() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=0.3, k=2)
    model.start_epoch(data, epoch=0)
    assert model.item_encoder.lin is not None
    torch.nn.init.normal_(
        model.item_encoder.lin.weight
    )  # The graph is now older than the features.
    out = model(data)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    for warmed_up in (False, True):
        restored = model_of(data, seed=1, skip_weight=0.3, k=2)
        if warmed_up:
            assert not torch.allclose(restored(data)[1], out[1])
        restored.load_state_dict(state)
        assert all(torch.equal(a, b) for a, b in zip(restored(data), out, strict=True))
    stale = model_of(data, seed=1, skip_weight=0.3, k=2)
    stale.load_state_dict({key: value for key, value in state.items() if 'extra' not in key}, False)
    assert not torch.allclose(stale(data)[1], out[1])


def test_checkpoint_without_a_learned_graph_builds_one() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=0.3, k=2)
    state = copy.deepcopy(model.state_dict())
    restored = model_of(data, seed=1, skip_weight=0.3, k=2)
    restored(data)
    restored.load_state_dict(state)
    torch.testing.assert_close(restored(data), model(data))


@pytest.mark.parametrize('skip_weight', [1.0, 0.5])
def test_copies_compute_the_same(skip_weight: float) -> None:
    data = small_shop()
    model = model_of(data, skip_weight=skip_weight)
    out = model(data)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert all(torch.equal(a, b) for a, b in zip(other(data), out, strict=True))


@pytest.mark.parametrize('attention', ATTENTIONS)
@pytest.mark.parametrize(
    ('item_input', 'skip_weight'),
    [('features', 1.0), ('features', 0.5), ('sum', 1.0), ('sum', 0.5), ('id', 1.0)],
)
def test_cold_items_are_independent_of_what_is_random(
    item_input: str, skip_weight: float, attention: str
) -> None:
    data = small_shop()
    model = model_of(
        data, item_input=item_input, attention=attention, skip_weight=skip_weight, k=2,
        num_item_layers=2,
    )  # fmt: skip
    before = model(data)
    items = model.light_gcn.item_embedding.weight
    (grad,) = torch.autograd.grad(before[0].sum() + before[1].pow(3).sum(), items)
    assert not grad[COLD].any()
    items.data[COLD] += 10 * torch.randn(len(COLD), 5)
    after = model(data)
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    items.data += torch.randn(NUM_ITEMS, 5)
    unchanged = torch.equal(model(data)[1][COLD], before[1][COLD])
    assert unchanged is (item_input == 'features')  # Else warm neighbours pass on what they are.
    model.light_gcn.user_embedding.weight.data += 1
    assert not torch.allclose(model(data)[0], before[0])
    if item_input == 'features':
        assert torch.equal(model(data)[1][COLD], before[1][COLD])
        assert bool((before[1][COLD].norm(dim=1) > 0).all())


def test_items_without_any_modality_and_users_without_interactions() -> None:
    data = small_shop()
    model = model_of(data, normalize_item=False, item_graphs=())
    z_user, z_item = model(data)
    assert model.item_encoder.lin is not None
    z_user_lgcn, z_item_lgcn = model.light_gcn(data)
    assert torch.equal(z_user, z_user_lgcn)
    torch.testing.assert_close(z_item[6] - z_item_lgcn[6], model.item_encoder.lin.bias)
    assert bool(torch.isfinite(z_user).all() & torch.isfinite(z_item).all())


@pytest.mark.parametrize('item_input', ITEM_INPUTS)
def test_no_modality_and_no_edges_give_finite_gradients(item_input: str) -> None:
    data = small_shop()
    for relation in ('similar', 'co_interacts'):
        graph = data[ITEM, relation, ITEM]
        graph.edge_index, graph.edge_weight = graph.edge_index[:, :0], graph.edge_weight[:0]
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :0]
    data[ITEM].x_image, data[ITEM].x_text = torch.zeros(2, NUM_ITEMS, CHANNELS).double()
    model = model_of(data, item_input=item_input)
    z_user, z_item = model(data)
    assert not z_item.any()  # All items are cold and none has a neighbour.
    (z_user.sum() + z_item.sum()).backward()
    for parameter in model.parameters():
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all())


def test_gradient_reaches_every_parameter() -> None:
    data = small_shop()
    for attention in ('graph', 'node', 'edge'):
        for fusion in ('weighted', 'gated'):
            model = model_of(
                data, item_input='sum', attention=attention, fusion=fusion, skip_weight=0.5
            )
            z_user, z_item = model(data)
            (z_user @ z_item.t()).square().sum().backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, name
                assert bool(parameter.grad.abs().sum() > 0), name


@pytest.mark.parametrize('attention', ATTENTIONS)
def test_alpha_is_the_attention_of_the_forward(attention: str) -> None:
    data = small_shop()
    model = model_of(data, attention=attention)
    alpha = model.alpha(data)
    assert not alpha.requires_grad
    num_edges = len(
        {
            edge
            for relation in model.item_graphs
            for edge in zip(*data[ITEM, relation, ITEM].edge_index.tolist(), strict=True)
        }
    )
    rows = {'graph': 1, 'mean': 1, 'node': NUM_ITEMS, 'edge': num_edges}[attention]
    assert alpha.shape == (rows, 2)
    torch.testing.assert_close(alpha.sum(dim=1), torch.ones(rows, dtype=alpha.dtype))
    if attention == 'node':
        assert model.item_encoder.attention is not None
        logit = model.item_encoder.attention.logit
        assert logit is not None
        assert model.item_encoder.attention.lin_dst is not None
        weight = model.item_encoder.attention.lin_dst.weight
        expected = soft_attention(logit, input_of(model, data), weight, None)
        torch.testing.assert_close(alpha, expected.detach())


def test_alpha_needs_graphs() -> None:
    data = small_shop(())
    with pytest.raises(ValueError, match='fuses no item graphs'):
        model_of(data, item_graphs=()).alpha(data)


def test_changed_item_graphs_are_noticed() -> None:
    data = small_shop()
    model = model_of(data)
    before = model(data)[1]
    data[ITEM, 'similar', ITEM].edge_weight.mul_(2)
    changed = model(data)[1]
    assert not torch.allclose(changed, before)
    check(model, data)
    graph = data[ITEM, 'co_interacts', ITEM]
    graph.edge_index, graph.edge_weight = graph.edge_index[:, 3:], graph.edge_weight[3:]
    assert not torch.allclose(model(data)[1], changed)
    check(model, data)


def test_order_of_edges_does_not_matter() -> None:
    data = small_shop()
    out = model_of(data, attention='edge', skip_weight=0.5)(data)
    for edge_type in data.edge_types:
        store = data[edge_type]
        order = torch.randperm(store.edge_index.size(1))
        store.edge_index = store.edge_index[:, order]
        if 'edge_weight' in store:
            store.edge_weight = store.edge_weight[order]
    torch.testing.assert_close(model_of(data, attention='edge', skip_weight=0.5)(data), out)


def test_the_seed_decides() -> None:
    data = small_shop()
    first, again, other = (model_of(data, seed=seed, skip_weight=0.5)(data) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.allclose(first[1], other[1])


def test_reset_parameters_forgets_the_learned_graph() -> None:
    data = small_shop()
    model = model_of(data, skip_weight=0.5, k=2)
    old = learned_of(model, data)
    model(data)
    model.reset_parameters()
    assert model.item_encoder.graphs.get_extra_state() == {}
    assert not torch.allclose(learned_of(model, data), old)
    check(model, data, learned_of(model, data))


@pytest.mark.parametrize('skip_weight', [1.0, 0.5])
def test_inference_mode(skip_weight: float) -> None:
    data = small_shop()
    model = model_of(data, skip_weight=skip_weight)
    expected = model(data)
    model = model_of(data, skip_weight=skip_weight).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(data), expected)
        torch.testing.assert_close(model(data), expected)


@pytest.mark.parametrize('skip_weight', [1.0, 0.5])
@pytest.mark.parametrize('attention', ATTENTIONS)
def test_training_after_inference_mode(attention: str, skip_weight: float) -> None:
    data = small_shop()
    model = model_of(data, attention=attention, skip_weight=skip_weight, k=2)
    with torch.inference_mode():  # As Lightning's sanity check does before the first epoch.
        model(data)
    check(model, data, learned_of(model, data) if skip_weight < 1 else None)


def test_training_in_mixed_precision() -> None:
    data = AddItemKNNGraph(k=3, attr='x_text')(planted_shop())
    torch.manual_seed(0)
    model = MMGEF.from_data(data, embedding_dim=8)
    expected = model(data)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        z_user, z_item = model(data)
    torch.testing.assert_close((z_user.float(), z_item.float()), expected, rtol=0.05, atol=0.05)
    z_item.float().pow(3).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), name


def test_from_data_with_features_and_graphs() -> None:
    model = MMGEF.from_data(small_shop())
    assert model.item_graphs == ('similar', 'co_interacts')
    assert (model.item_input, model.skip_weight, model.rebuild_every) == ('features', 0.9, 5)
    assert model.item_encoder.graphs.k == 10
    assert model.fusion is not None
    assert model.fusion.in_channels == BOTH
    assert (model.light_gcn.embedding_dim, model.light_gcn.num_layers) == (64, 2)
    assert (model.item_encoder.num_layers, model.normalize_item) == (1, True)
    assert model.item_encoder.attention is not None
    assert (model.fusion.mode, model.item_encoder.attention.mode) == ('mean', 'graph')


def test_from_data_without_features() -> None:
    data = small_shop()
    for name in ('x_image', 'x_text', 'has_image'):
        del data[ITEM][name]
    model = MMGEF.from_data(data)
    assert (model.item_input, model.skip_weight) == ('id', 1.0)
    assert model.fusion is None
    assert model.item_encoder.lin is None
    assert model(data)[1].shape == (NUM_ITEMS, 64)


def test_from_data_refuses_to_forget_the_item_graphs() -> None:
    with pytest.raises(ValueError, match=r'no weighted item graph.*item_graphs=\(\)'):
        MMGEF.from_data(small_shop(()))


@pytest.mark.parametrize('relations', [('co_interacts',), ('similar_image', 'similar_text')])
def test_from_data_without_the_similar_graph(relations: tuple[str, ...]) -> None:
    model = MMGEF.from_data(small_shop(relations))
    assert (model.item_graphs, model.skip_weight) == (relations, 1.0)


def test_from_data_takes_what_it_is_told() -> None:
    data = small_shop()
    model = MMGEF.from_data(data, item_graphs=('co_interacts',), embedding_dim=8, k=3)
    assert (model.item_graphs, model.skip_weight, model.item_encoder.graphs.k) == (
        ('co_interacts',),
        1.0,
        3,
    )
    model = MMGEF.from_data(data, item_input='id')
    assert (model.item_input, model.skip_weight, model.fusion) == ('id', 1.0, None)
    model = MMGEF.from_data(data, in_channels={'text': CHANNELS}, skip_weight=0.2)
    assert model.fusion is not None
    assert (model.fusion.in_channels, model.skip_weight) == ({'text': CHANNELS}, 0.2)


def test_from_data_with_one_fused_matrix() -> None:
    data = small_shop()
    for name in ('x_image', 'x_text', 'has_image'):
        del data[ITEM][name]
    data[ITEM].x = torch.randn(NUM_ITEMS, 6)
    model = MMGEF.from_data(data)
    assert model.fusion is not None
    assert model.fusion.in_channels == {'x': 6}
    assert model(data)[1].shape == (NUM_ITEMS, 64)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'item_input': 'both'}, r"'item_input' must be one of .* \(got 'both'\)"),
        ({'attention': 'item'}, "'mode' must be one of"),
        ({'fusion': 'sum'}, "'mode' must be one of"),
        ({'item_graphs': 'similar'}, "'item_graphs' must name distinct relations"),
        ({'item_graphs': ('similar', 'similar')}, "'item_graphs' must name distinct relations"),
        ({'in_channels': None}, "'in_channels' is needed for item_input='features'"),
        ({'in_channels': {}, 'item_input': 'sum'}, "'in_channels' is needed .*'sum'"),
        ({'in_channels': {'image': 4, 'text': 3}}, 'needs modalities of one width'),
        ({'item_graphs': ('co_interacts',)}, "'skip_weight' below 1 .*set skip_weight=1"),
        ({'item_graphs': ()}, "'skip_weight' below 1 .*set skip_weight=1"),
        ({'item_input': 'id'}, "'skip_weight' below 1 .*set skip_weight=1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MMGEF(3, 4, **{'in_channels': BOTH, **options})


def test_data_that_does_not_fit_is_refused() -> None:
    data = small_shop()
    model = model_of(data)
    for change, message in (
        (lambda d: d[USER].update({'num_nodes': 7}), 'has 7 users and 9 items'),
        (lambda d: d[ITEM].pop('x_text'), r"'x' lacks the modalities \['text'\]"),
        (lambda d: d[ITEM].update({'x_text': torch.ones(9, 3)}), 'has 3 channels for .text.'),
        (lambda d: d[ITEM, 'similar', ITEM].pop('edge_weight'), 'no item graph .*AddItemKNNGraph'),
        (lambda d: d.__delitem__((ITEM, 'similar', ITEM)), 'no item graph'),
        (lambda d: d.__delitem__(INTERACTS), 'has no edge type'),
        (
            lambda d: d[ITEM, 'similar', ITEM].update({'edge_index': torch.tensor([[9], [0]])}),
            'holds the .*node id 9',
        ),
        (
            lambda d: d[ITEM, 'similar', ITEM].update({'edge_weight': torch.ones(1)}),
            'one weight an edge',
        ),
    ):
        other = copy.deepcopy(data)
        change(other)
        with pytest.raises(ValueError, match=message):
            model(other)
        model(data)


@pytest.mark.parametrize('attention', ['graph', 'edge'])
@pytest.mark.parametrize('item_input', ['features', 'sum'])
def test_learns_a_tiny_data_set(item_input: str, attention: str) -> None:
    data = AddCoInteractionGraph(k=3)(AddItemKNNGraph(k=3, attr='x_text')(planted_shop()))
    torch.manual_seed(0)
    model = MMGEF.from_data(data, embedding_dim=8, item_input=item_input, attention=attention)
    losses = train(model, data, epochs=25, lr=0.05, batch_size=16)
    assert losses[0] > 0.5
    assert losses[-1] < 0.3
    z_user, z_item = model(data)
    scores = (z_user @ z_item.t()).detach()
    # Every user prefers the cold item of the own group, which nobody has interacted with.
    assert bool((scores[:4, 4] > scores[:4, 9]).all())
    assert bool((scores[4:, 9] > scores[4:, 4]).all())


def test_learning_is_reproducible() -> None:
    data = AddItemKNNGraph(k=3, attr='x_text')(planted_shop())
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = MMGEF.from_data(data, embedding_dim=8, rebuild_every=2, k=3)
        runs.append((train(model, data, epochs=4, lr=0.05, batch_size=16), model(data)[1]))
    assert runs[0][0] == runs[1][0]
    assert torch.equal(runs[0][1], runs[1][1])


@pytest.mark.parametrize('attention', ATTENTIONS)
@pytest.mark.parametrize('item_input', ITEM_INPUTS)
@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'num_item_layers': 2},
        {'num_item_layers': 0},
        {'item_readout': 'mean'},
        {'skip_weight': 0.6, 'k': 2},
        {'fusion': 'gated'},
        {'item_dropout': 0.5, 'normalize_item': False},
    ],
    ids=str,
)
def test_a_batch_alone_equals_its_rows_of_everything(
    attention: str, item_input: str, kwargs: dict[str, Any]
) -> None:
    if item_input == 'id' and 'skip_weight' in kwargs:
        pytest.skip('nothing to learn a graph from')
    data = small_shop()
    model = model_of(data, attention=attention, item_input=item_input, **kwargs)
    users, items = torch.tensor([4, 0, 4, 5]), torch.tensor([[1, 8, 1, 3], [6, 6, 0, 2]])
    torch.manual_seed(1)  # For the dropout of items.
    z_user, z_item = model(data)
    torch.manual_seed(1)
    out, expected = model(data, users, items), (z_user[users], z_item[items])
    close(out, expected)
    grads, exact = (
        torch.autograd.grad(
            a.pow(3).sum() + b.square().sum(), list(model.parameters()), allow_unused=True
        )
        for a, b in (out, expected)
    )
    for grad, other in zip(grads, exact, strict=True):
        assert (grad is None) == (other is None)
        if grad is not None:
            torch.testing.assert_close(grad, other, rtol=1e-4, atol=1e-6)
