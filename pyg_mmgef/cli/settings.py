from dataclasses import asdict, dataclass
from typing import Any

from torch.nn import Module
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_mmgef.nn import MMGEF, AlignmentUniformityLoss, BPRLoss, LightGCN, SampledSoftmaxLoss
from pyg_mmgef.schema import ITEM, item_modalities
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    SplitInteractions,
)
from pyg_mmgef.validate import check_choice

__all__ = ['Settings']

MODELS, LOSSES = ('mmgef', 'lightgcn'), ('bpr', 'softmax', 'au')


@dataclass(frozen=True)
class Settings:
    """What ``pyg-mmgef train`` is asked for; with the dataset and the seed it makes the run."""

    model: str
    loss: str
    split: str
    modalities: tuple[str, ...]
    fusion: str
    attention: str
    k: int
    embedding_dim: int
    num_layers: int
    lr: float
    l2: float
    temperature: float
    gamma: float
    num_negatives: int
    batch_size: int
    epochs: int
    patience: int
    precision: str
    seed: int

    def __post_init__(self) -> None:
        check_choice('model', self.model, MODELS)
        check_choice('loss', self.loss, LOSSES)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> 'Settings':
        """Return the settings of a run's ``config.json``."""
        return cls(**{**settings, 'modalities': tuple(settings['modalities'])})

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` reads."""
        return asdict(self)

    def split_data(self, data: HeteroData) -> tuple[HeteroData, HeteroData, HeteroData]:
        """Return train, with its item graphs, validation and test.

        Raises:
            ValueError: If a modality is unknown, or the data can't be split as asked for.
        """
        known = list(item_modalities(data)[0])
        unknown = [name for name in self.modalities if name not in known]
        if unknown:
            raise ValueError(
                f'the dataset has no modality {unknown[0]!r} (it has {", ".join(known) or "none"})'
            )
        for name in known:
            if name not in self.modalities:
                del data[ITEM][f'x_{name}'], data[ITEM][f'has_{name}']
        train, val, test = SplitInteractions(strategy=self.split, seed=self.seed)(data)
        if self.model == 'mmgef':
            add = [AddCoInteractionGraph(k=self.k)]
            if self.modalities:
                k = min(self.k, train[ITEM].num_nodes - 1)
                add = [FuseModalities(self.fusion), AddItemKNNGraph(k=k), *add]
            train = Compose(add)(train)
        return train, val, test

    def build_model(self, train: HeteroData) -> LightGCN | MMGEF:
        """Return the model, with parameters drawn from torch's generator."""
        options: dict[str, Any] = {
            'embedding_dim': self.embedding_dim,
            'num_layers': self.num_layers,
        }
        if self.model == 'lightgcn':
            return LightGCN.from_data(train, **options)
        if self.modalities:
            options |= {'fusion': self.fusion, 'k': self.k}
        return MMGEF.from_data(train, attention=self.attention, **options)

    def build_loss(self) -> Module:
        """Return the loss."""
        if self.loss == 'bpr':
            return BPRLoss(self.l2)
        if self.loss == 'softmax':
            return SampledSoftmaxLoss(self.temperature, in_batch=False)
        return AlignmentUniformityLoss(self.gamma)

    def loader_options(self) -> dict[str, Any]:
        """Return how many negatives the loss takes."""
        if self.loss == 'bpr':
            return {'num_negatives': 1}
        if self.loss == 'softmax':
            return {'num_negatives': self.num_negatives, 'shared_negatives': True}
        return {'num_negatives': 0}
