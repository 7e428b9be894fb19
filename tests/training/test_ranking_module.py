import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.nn import Module
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.transforms import RandomLinkSplit

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import (
    MMGEF,
    AlignmentUniformityLoss,
    BPRLoss,
    LightGCN,
    Recommender,
    SampledSoftmaxLoss,
)
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer
from tests.training import job

Parts = tuple[HeteroData, HeteroData, HeteroData]


@pytest.fixture(scope='module')
def parts() -> Parts:
    return job.shop_parts()


def fit(
    folder: Path, module: RankingModule, data: InteractionDataModule, **kwargs: Any
) -> dict[int, dict[str, float]]:
    """Train quietly and return the logged rows by epoch."""
    options: dict[str, Any] = {
        'max_epochs': 2,
        'accelerator': 'cpu',
        'enable_progress_bar': False,
        **kwargs,
    }
    make_trainer(folder, enable_model_summary=False, **options).fit(module, data)
    return {
        epoch: {key: float(value) for key, value in row.items() if value}
        for epoch, row in job.rows(folder).items()
    }


class Recorder(Recommender):
    """Passes everything on to a model and remembers how it was called."""

    def __init__(self, model: LightGCN) -> None:
        super().__init__(model.num_users, model.num_items)
        self.model = model
        self.epochs: list[int] = []
        self.steps, self.evaluations = 0, 0

    def reset_parameters(self) -> None:
        self.model.reset_parameters()

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        self.epochs.append(epoch)
        self.model.start_epoch(data, epoch)

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        assert (users is None) == (items is None) == (not self.training)
        self.steps += self.training
        self.evaluations += not self.training
        return self.model.embed(data, users, items)


def test_an_epoch_is_that_of_a_plain_loop(parts: Parts, tmp_path: Path) -> None:
    module = job.make_module(parts[0])
    rows = fit(tmp_path, module, InteractionDataModule(*parts, batch_size=37, seed=7))

    train, val, _ = parts
    plain = job.make_module(train).model
    optimizer = torch.optim.Adam(plain.parameters(), lr=3e-3, fused=True)
    loss_fn = BPRLoss(l2=1e-3)
    generator = torch.Generator().manual_seed(7)
    loader = TripletLoader(train, 37, shuffle=True, generator=generator)
    for epoch in range(2):
        plain.start_epoch(train, epoch)
        plain.train()
        losses = []
        for users, items, negatives in loader:
            loss = plain.loss(train, users, items, negatives, loss_fn)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        plain.eval()
        z_user, z_item = plain(train)
        metrics = evaluate_ranking(
            z_user,
            z_item,
            target=val[INTERACTS].edge_label_index,
            exclude=train[INTERACTS].edge_index,
            k=(5, 20),
        )
        assert rows[epoch]['train_loss'] == pytest.approx(float(sum(losses)) / len(losses))
        for name, value in metrics.items():
            assert rows[epoch][f'val_{name}'] == pytest.approx(value)
    job.assert_equal_states(module.model.state_dict(), plain.state_dict())


def test_calls_of_the_model(parts: Parts, tmp_path: Path) -> None:
    recorder = Recorder(LightGCN.from_data(parts[0], embedding_dim=8))
    data = InteractionDataModule(*parts, batch_size=100)
    fit(tmp_path, RankingModule(recorder), data, max_epochs=3)
    assert recorder.epochs == [0, 1, 2]
    assert recorder.steps == 3 * len(data.train_dataloader())
    assert recorder.evaluations == 3


def test_test_leaves_out_what_train_and_validation_hold(parts: Parts, tmp_path: Path) -> None:
    train, val, test = parts
    seed_everything(0)
    model = LightGCN.from_data(train, embedding_dim=8)
    trainer = make_trainer(tmp_path, logger=False, enable_progress_bar=False)
    (logged,) = trainer.test(RankingModule(model, k=(10,)), InteractionDataModule(*parts))
    edges = train[INTERACTS].edge_index, val[INTERACTS].edge_label_index
    target = test[INTERACTS].edge_label_index
    with torch.no_grad():
        z_user, z_item = model(train)
    expected = evaluate_ranking(z_user, z_item, target, exclude=torch.cat(edges, dim=1), k=10)
    other = evaluate_ranking(z_user, z_item, target, exclude=edges[0], k=10)
    assert logged == pytest.approx({f'test_{name}': value for name, value in expected.items()})
    assert expected != other


def test_negatives_of_random_link_split_are_no_validation_to_leave_out(tmp_path: Path) -> None:
    """They are neither targets nor, in a test, struck off as seen in validation."""
    train, val, test = RandomLinkSplit(0.1, 0.1, edge_types=[INTERACTS])(job.whole_shop())
    seed_everything(0)
    model = LightGCN.from_data(train, embedding_dim=8)
    trainer = make_trainer(tmp_path, logger=False, enable_progress_bar=False)
    (logged,) = trainer.test(RankingModule(model, k=10), InteractionDataModule(train, val, test))
    val_edges, test_edges = (
        part[INTERACTS].edge_label_index[:, part[INTERACTS].edge_label > 0] for part in (val, test)
    )
    with torch.no_grad():
        z_user, z_item = model(train)
    seen = torch.cat([train[INTERACTS].edge_index, val_edges], dim=1)
    expected = evaluate_ranking(z_user, z_item, test_edges, exclude=seen, k=10)
    assert logged == pytest.approx({f'test_{name}': value for name, value in expected.items()})


losses = pytest.mark.parametrize(
    ('loss', 'num_negatives'),
    [
        (BPRLoss(), 3),
        (SampledSoftmaxLoss(), 5),
        (SampledSoftmaxLoss(in_batch=True), 0),
        (AlignmentUniformityLoss(), 0),
    ],
    ids=repr,
)


@losses
@pytest.mark.parametrize('drop_last', [False, True])
def test_a_last_batch_of_one_row(
    loss: Module, num_negatives: int, drop_last: bool, parts: Parts, tmp_path: Path
) -> None:
    batch_size = parts[0][INTERACTS].edge_label_index.size(1) - 1
    module = RankingModule(LightGCN.from_data(parts[0], embedding_dim=4), loss)
    data = InteractionDataModule(
        *parts, batch_size=batch_size, num_negatives=num_negatives, drop_last=drop_last
    )
    rows = fit(tmp_path, module, data, max_epochs=1)
    assert len(data.train_dataloader()) == 2 - drop_last
    assert math.isfinite(rows[0]['train_loss'])


@losses
def test_losses(loss: Module, num_negatives: int, parts: Parts, tmp_path: Path) -> None:
    seed_everything(0)
    module = RankingModule(LightGCN.from_data(parts[0], embedding_dim=16), loss, lr=0.02)
    data = InteractionDataModule(*parts, batch_size=64, num_negatives=num_negatives)
    rows = fit(tmp_path, module, data, max_epochs=8)
    assert rows[7]['train_loss'] < rows[0]['train_loss']
    assert rows[7]['val_recall@20'] > 0.5  # A random ranking finds 20 of 54 items, 0.37.


def test_bf16(parts: Parts, tmp_path: Path) -> None:
    data = InteractionDataModule(*parts, batch_size=37)
    rows = {}
    for precision in ('32-true', 'bf16-mixed'):
        module = job.make_module(parts[0])
        rows[precision] = fit(tmp_path / precision, module, data, max_epochs=5, precision=precision)
        assert all(parameter.dtype == torch.float for parameter in module.parameters())
    for epoch in range(5):
        exact, rounded = rows['32-true'][epoch], rows['bf16-mixed'][epoch]
        assert rounded['train_loss'] == pytest.approx(exact['train_loss'], rel=0.01)
        assert rounded['val_recall@20'] == pytest.approx(exact['val_recall@20'], abs=0.03)
        assert rounded['train_loss'] != exact['train_loss'], 'was anything rounded at all?'


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    command = [sys.executable, job.__file__, str(tmp_path / 'two'), '--devices', '2']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Starting with 2 processes' in done.stderr
    job.train(tmp_path / 'one')
    one, two = job.rows(tmp_path / 'one'), job.rows(tmp_path / 'two')
    assert one != two, 'the sums are taken in another order'
    assert one.keys() == two.keys()
    for epoch, row in one.items():
        expected = {name: float(value) for name, value in row.items()}
        found = {name: float(value) for name, value in two[epoch].items()}
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'attention': 'node'},
        {'attention': 'edge'},
        {'num_item_layers': 2, 'item_readout': 'mean'},
        {'num_item_layers': 0},
        {'item_graphs': (), 'skip_weight': 1.0},
        {'item_graphs': ('similar',)},
        {'item_input': 'id', 'skip_weight': 1.0},
        {'item_input': 'sum'},
        {'fusion': 'weighted'},
        {'fusion': 'gated'},
        {'num_layers': 0},
    ],
    ids=str,
)
def test_every_parameter_has_a_gradient(options: dict[str, Any], parts: Parts) -> None:
    """DistributedDataParallel waits forever for one that has none."""
    model = MMGEF.from_data(parts[0], embedding_dim=8, **options)
    users, items, negatives = next(iter(TripletLoader(parts[0], 64)))
    model.loss(parts[0], users, items, negatives, BPRLoss()).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_testing_a_checkpoint_leaves_the_random_state_alone(parts: Parts, tmp_path: Path) -> None:
    trainer = job.train(tmp_path, max_epochs=1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    path = tmp_path / 'checkpoints' / 'best.ckpt'
    module = RankingModule.load_from_checkpoint(path, model=job.make_module(parts[0]).model)
    torch.set_rng_state(before)
    trainer.test(module, InteractionDataModule(*parts), ckpt_path=path)
    assert torch.equal(torch.get_rng_state(), before)


def test_optimizer(parts: Parts) -> None:
    optimizer = RankingModule(LightGCN.from_data(parts[0]), lr=0.25).configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.defaults['lr'], optimizer.defaults['fused']) == (0.25, True)


@pytest.mark.parametrize('lr', [0, -1.0, float('nan'), float('inf')])
def test_learning_rate_must_be_positive(lr: float, parts: Parts) -> None:
    with pytest.raises(ValueError, match="'lr' must be positive"):
        RankingModule(LightGCN.from_data(parts[0]), lr=lr)


class TestCutoffs:
    def test_one_or_several(self, parts: Parts) -> None:
        model = LightGCN.from_data(parts[0])
        assert RankingModule(model, k=5).k == (5,)
        assert RankingModule(model, k=[5, 7]).k == (5, 7)

    @pytest.mark.parametrize('k', [0, (5, 0), (), 2.5])
    def test_wrong_ones(self, k: Any, parts: Parts) -> None:
        with pytest.raises(ValueError, match=r"'k' (must be a positive integer|is empty)"):
            RankingModule(LightGCN.from_data(parts[0]), k=k)

    def test_too_large_ones_are_found_before_training(self, parts: Parts, tmp_path: Path) -> None:
        recorder = Recorder(LightGCN.from_data(parts[0], embedding_dim=4))
        module = RankingModule(recorder, k=(10, job.NUM_ITEMS + 1))
        with pytest.raises(ValueError, match=rf"'k' must lie in \[1, {job.NUM_ITEMS}\]"):
            fit(tmp_path, module, InteractionDataModule(*parts))
        assert recorder.steps == 0
        with pytest.raises(ValueError, match=rf"'k' must lie in \[1, {job.NUM_ITEMS}\]"):
            make_trainer(tmp_path, logger=False).test(module, InteractionDataModule(*parts))

    def test_do_not_matter_where_nothing_is_ranked(self, parts: Parts, tmp_path: Path) -> None:
        module = RankingModule(LightGCN.from_data(parts[0], embedding_dim=4), k=1000)
        rows = fit(tmp_path, module, InteractionDataModule(parts[0]), max_epochs=1, monitor=None)
        assert 'train_loss' in rows[0]


@pytest.mark.parametrize('given', ['Other', 'NoneType'])
def test_other_data_is_refused(given: str, parts: Parts, tmp_path: Path) -> None:
    module = RankingModule(LightGCN.from_data(parts[0]))
    other = type('Other', (LightningDataModule,), {})() if given == 'Other' else None
    loader = None if other else TripletLoader(parts[0])
    trainer = make_trainer(tmp_path, monitor=None, logger=False, enable_progress_bar=False)
    with pytest.raises(ValueError, match=f'must be an InteractionDataModule .got {given}'):
        trainer.fit(module, loader, datamodule=other)
