"""Sharded tables against torch.nn.Embedding in one process."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from pyg_mmgef.distributed import ShardedModel
from pyg_mmgef.nn import BPRLoss, LightGCN
from tests.distributed.shop import (
    NUM_ITEMS,
    NUM_USERS,
    build,
    gathered,
    here,
    losses_of,
    make_loader,
    make_model,
    make_shop,
)
from tests.distributed.together import run_together

pytestmark = pytest.mark.distributed
EPOCHS = 2
TABLES = ('user_embedding.weight', 'item_embedding.weight')


def train(name: str, options: dict[str, Any]) -> dict[str, Any]:
    data = make_shop()
    sharded = build(name, data, **options)
    initial = dict(gathered(sharded))
    dense = {k: p.detach().clone() for k, p in sharded.model.named_parameters() if p.numel()}
    curve = losses_of(sharded, here(data), EPOCHS)
    return {
        'initial': initial,
        'dense': dense,
        'curve': curve,
        'trained': dict(gathered(sharded)),
        'held': {name: (x.start, len(x.rows)) for name, x in sharded.tables.items()},
        'repr': repr(sharded),
    }


class RowWiseAdagrad(torch.optim.Optimizer):
    """The formula in the docstring of ShardedModel, for a whole table."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {'lr': lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for x in group['params']:
                total = self.state[x].setdefault('sum', torch.zeros(len(x), 1))
                total += x.grad.square().mean(dim=1, keepdim=True)
                x -= group['lr'] * x.grad / (total.sqrt() + 1e-8)


def adagrad(params: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(params, lr=lr, eps=1e-8)


OPTIMIZERS = {'rowwise_adagrad': RowWiseAdagrad, 'adagrad': adagrad, 'sgd': torch.optim.SGD}


def train_plainly(
    name: str, options: dict[str, Any], start: dict[str, Any]
) -> tuple[list[float], dict[str, Tensor]]:
    """Train with torch.nn.Embedding from the same parameters, in this process alone."""
    data = make_shop()
    model = make_model(name, data)
    initial = {**start['initial'], **start['dense']}
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.copy_(initial[key])
    tables = [p for key, p in model.named_parameters() if key in start['initial']]
    dense = [p for key, p in model.named_parameters() if key not in start['initial']]
    optimizers = [OPTIMIZERS[options['optimizer']](tables, lr=options['lr'])]
    optimizers += [torch.optim.Adam(dense)] if dense else []
    loader, loss_fn, curve = make_loader(data), BPRLoss(), []
    for _ in range(EPOCHS):
        total = 0.0
        for batch in loader:
            user, item = batch['user'], batch['item']
            loss = model.loss(
                batch, user.src_index, item.dst_pos_index, item.dst_neg_index, loss_fn
            )
            model.zero_grad()
            loss.backward()
            for each in optimizers:
                each.step()
            total += loss.item()
        curve.append(total / len(loader))
    return curve, {key: p.detach() for key, p in model.named_parameters()}


@pytest.mark.parametrize(
    ('name', 'optimizer', 'lr'),
    [
        ('MF', 'sgd', 10.0),
        ('LightGCN', 'rowwise_adagrad', 0.1),
        ('LightGCN', 'adagrad', 0.05),
        ('MMGEF', 'rowwise_adagrad', 0.1),
    ],
)
def test_any_number_of_processes_learns_what_an_embedding_learns(
    name: str, optimizer: str, lr: float
) -> None:
    options = {'optimizer': optimizer, 'lr': lr}
    runs = {p: run_together(train, p, name, options)[0] for p in (1, 2, 4)}
    curve, trained = train_plainly(name, options, runs[1])
    assert curve[1] < 0.99 * curve[0]
    for run in runs.values():
        for key, x in runs[1]['initial'].items():
            assert torch.equal(run['initial'][key], x)
        assert run['curve'] == pytest.approx(curve, rel=1e-5)
        for key, x in run['trained'].items():
            torch.testing.assert_close(x, trained[key], rtol=1e-3, atol=1e-5)


def test_each_process_holds_its_rows_alone() -> None:
    runs = run_together(train, 4, 'LightGCN', {})
    held = [tuple(run['held'].values()) for run in runs]
    # 101 rows in parts of 26, 53 rows in parts of 14.
    assert held == [
        ((0, 26), (0, 14)),
        ((26, 26), (14, 14)),
        ((52, 26), (28, 14)),
        ((78, 23), (42, 11)),
    ]
    assert runs[3]['repr'] == 'ShardedModel(LightGCN, rows=23 of 101, 11 of 53)'


def few_rows() -> dict[str, Any]:
    data = make_shop(num_users=50, num_items=5, num_interactions=60)
    sharded = build('LightGCN', data)
    before = dict(gathered(sharded))
    curve = losses_of(sharded, here(data), 1)
    return {'held': [len(x.rows) for x in sharded.tables.values()], 'curve': curve, **before}


def test_a_process_without_rows() -> None:
    one, four = run_together(few_rows, 1)[0], run_together(few_rows, 4)
    # Five rows in parts of two.
    assert [run['held'][1] for run in four] == [2, 2, 1, 0]
    assert torch.equal(one[TABLES[1]], four[0][TABLES[1]])
    assert four[3]['curve'] == pytest.approx(one['curve'], rel=1e-5)


def seeds() -> list[Tensor]:
    data = make_shop()
    return [dict(gathered(build('MF', data, seed=seed)))[TABLES[0]] for seed in (0, 0, 1)]


def test_seed_and_distribution_of_the_initial_rows() -> None:
    (same, again, other), _ = run_together(seeds, 2)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    bound = (6 / (NUM_USERS + 16)) ** 0.5  # Xavier-uniform
    assert 0.9 * bound < same.abs().max() < bound
    assert same.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def embeddings() -> tuple[Tensor, ...]:
    data = make_shop()
    sharded = build('LightGCN', data)
    batch = next(iter(here(data)))
    z_user, z_item = sharded.embed(batch, batch['user'].src_index[:4], torch.tensor([1, 0]))
    plain = make_model('LightGCN', data)
    plain.load_state_dict(dict(gathered(sharded)))
    with torch.no_grad():
        expected = plain(batch, batch['user'].src_index[:4], torch.tensor([1, 0]))
    return z_user, z_item, *expected


def test_embeddings_of_a_batch() -> None:
    for z_user, z_item, user, item in run_together(embeddings, 2):
        torch.testing.assert_close(z_user, user)
        torch.testing.assert_close(z_item, item)


def changed_rate() -> list[float]:
    data = make_shop()
    sharded = build('MF', data, optimizer='sgd')
    rows = sharded.tables[TABLES[0]].rows
    sharded.optimizer.param_groups[0]['lr'] = 0.0
    changes = []
    for number, batch in enumerate(here(data)):
        before = rows.clone()
        sharded(batch).backward()
        changes.append((rows - before).abs().max().item())
        if number == 0:
            for group in sharded.optimizer.param_groups:
                group['lr'] = 1.0
        if number == 1:
            return changes
    raise AssertionError


def test_changed_learning_rates_reach_the_tables() -> None:
    for first, second in run_together(changed_rate, 2):
        assert first == 0.0
        assert second > 0.0


def messages() -> list[str]:
    data = make_shop()
    with torch.device('meta'):
        model = LightGCN.from_data(data, embedding_dim=8)
    sharded = ShardedModel(model, BPRLoss(), lr=0.1)
    batch = next(iter(here(data)))
    out = []
    for call in (
        lambda: model(batch),
        lambda: model(data),
        lambda: build('MF', data, optimizer='adam'),
        lambda: build('MF', data, lr=0),
        lambda: ShardedModel(LightGCN.from_data(data), BPRLoss(), lr=0.1),
        lambda: sharded.embed(data),
    ):
        with pytest.raises((RuntimeError, ValueError, AttributeError)) as error:
            call()
        out.append(str(error.value))
    return out


def test_messages() -> None:
    (found,) = run_together(messages, 1)
    for text, expected in zip(
        found,
        (
            'call that instead of the model',
            'train on sampled batches',
            "'optimizer' must be one of",
            "'lr' must be positive",
            "build it with torch.device('meta')",
            'n_id',
        ),
        strict=True,
    ):
        assert expected in text


def test_without_a_process_group() -> None:
    assert not dist.is_initialized()
    with torch.device('meta'):
        model = LightGCN(NUM_USERS, NUM_ITEMS)
    with pytest.raises(RuntimeError, match='start the script with torchrun'):
        ShardedModel(model, BPRLoss(), lr=0.1)
