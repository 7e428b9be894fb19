import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import RandomLinkSplit

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import LightGCN
from pyg_mmgef.schema import INTERACTS, ITEM
from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer
from tests.training import job

Parts = tuple[HeteroData, HeteroData, HeteroData]


@pytest.fixture(scope='module')
def parts() -> Parts:
    return job.shop_parts()


def attached(folder: Path, data: InteractionDataModule) -> InteractionDataModule:
    """Return the data as a trainer has set it up, trained for an epoch."""
    module = RankingModule(LightGCN.from_data(data.train, embedding_dim=4))
    options: dict[str, Any] = {'enable_progress_bar': False, 'enable_model_summary': False}
    make_trainer(folder, max_epochs=1, monitor=None, logger=False, **options).fit(module, data)
    return data


def drawn(loader: Iterable[tuple[Tensor, Tensor, Tensor]]) -> list[Tensor]:
    return [torch.cat(column) for column in zip(*loader, strict=True)]


def test_loaders(parts: Parts, tmp_path: Path) -> None:
    options: dict[str, Any] = {'num_negatives': 3, 'negatives_from': 'all', 'popularity': 0.5}
    options['uniform_users'] = True
    data = attached(tmp_path, InteractionDataModule(*parts, batch_size=50, seed=3, **options))
    generator = torch.Generator().manual_seed(3)
    expected = TripletLoader(parts[0], 50, shuffle=True, generator=generator, **options)
    drawn(expected)  # The epoch that was trained.
    for found, one in zip(drawn(data.train_dataloader()), drawn(expected), strict=True):
        assert torch.equal(found, one)
    for loader, part in ((data.val_dataloader(), parts[1]), (data.test_dataloader(), parts[2])):
        (batch,) = loader
        assert torch.equal(batch, part[INTERACTS].edge_label_index)


def test_lightning_asks_for_no_workers(parts: Parts, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        attached(tmp_path, InteractionDataModule(*parts, batch_size=50))
    assert not [one for one in caught if 'num_workers' in str(one.message)]


def test_negatives_of_random_link_split_are_no_positives(tmp_path: Path) -> None:
    """Neither a triplet of training nor a target of validation and test."""
    split = RandomLinkSplit(0.1, 0.1, edge_types=[INTERACTS])
    parts: Parts = split(job.whole_shop())
    data = attached(tmp_path, InteractionDataModule(*parts, batch_size=50))
    users, items, _ = drawn(data.train_dataloader())
    (val,), (test,) = data.val_dataloader(), data.test_dataloader()
    for part, found in zip(parts, (torch.stack([users, items]), val, test), strict=True):
        edges = part[INTERACTS]
        expected = edges.edge_label_index[:, edges.edge_label > 0]
        assert 2 * expected.size(1) == edges.edge_label_index.size(1)
        assert set(map(tuple, found.t().tolist())) == set(map(tuple, expected.t().tolist()))


def test_drop_last(parts: Parts, tmp_path: Path) -> None:
    num_edges = parts[0][INTERACTS].edge_label_index.size(1)
    for drop_last in (False, True):
        options = {'batch_size': num_edges - 1, 'drop_last': drop_last}
        data = attached(tmp_path, InteractionDataModule(*parts, **options))
        sizes = [users.numel() for users, _, _ in data.train_dataloader()]
        assert sizes == [num_edges - 1] + [1] * (not drop_last)


def test_without_validation_and_test(parts: Parts) -> None:
    data = InteractionDataModule(parts[0])
    assert data.val_dataloader() == data.test_dataloader() == []


def test_the_parts_passed_in_stay_as_they_are(parts: Parts, tmp_path: Path) -> None:
    """They are moved once, as copies; on one device both share their tensors."""
    before = [(part, dict(part[INTERACTS])) for part in parts]
    data = attached(tmp_path, InteractionDataModule(*parts))
    assert data.train is not parts[0]
    for part, edges in before:
        assert dict(part[INTERACTS]).keys() == edges.keys()
        assert all(part[INTERACTS][key] is value for key, value in edges.items())
    assert data.train[ITEM].x is parts[0][ITEM].x


def test_state_is_that_of_the_loader(parts: Parts, tmp_path: Path) -> None:
    first = attached(tmp_path / 'first', InteractionDataModule(*parts))
    second = attached(tmp_path / 'second', InteractionDataModule(*parts, seed=9))
    second.load_state_dict(first.state_dict())
    for one, other in zip(
        drawn(first.train_dataloader()), drawn(second.train_dataloader()), strict=True
    ):
        assert torch.equal(one, other)


def test_without_training_there_is_no_state(parts: Parts) -> None:
    data = InteractionDataModule(*parts)
    assert data.state_dict() == {}
    data.load_state_dict({'generator': torch.Generator().get_state()})


@pytest.mark.parametrize('name', ['val', 'test'])
def test_a_part_needs_held_out_interactions(name: str, parts: Parts) -> None:
    whole = HeteroData()
    whole[INTERACTS].edge_index = parts[0][INTERACTS].edge_index
    with pytest.raises(ValueError, match=f"'{name}' has no held-out interactions"):
        InteractionDataModule(parts[0], **{name: whole})
    with pytest.raises(ValueError, match=f"'{name}' has no held-out interactions"):
        InteractionDataModule(parts[0], **{name: HeteroData()})


def test_train_needs_interactions() -> None:
    with pytest.raises(ValueError, match='has no edge type'):
        InteractionDataModule(HeteroData())
