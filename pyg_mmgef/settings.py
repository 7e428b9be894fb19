from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ['DEFAULT_MODEL', 'Settings', 'model_options']

DEFAULT_MODEL = 'contentials'


@dataclass(frozen=True)
class Settings:
    """What determines, with the dataset, the result of a run.

    The options of ``pyg-mmgef train`` and the arguments of :func:`~pyg_mmgef.fit` are the fields,
    and ``config.json`` holds their values. :obj:`None` means the default of the model or the loss,
    which :func:`~pyg_mmgef.runs.models.complete` fills in, or that of the data. The mapping
    ``options`` has further arguments of the model's constructor.
    """

    model: str | None = None
    preset: str | None = None
    modalities: tuple[str, ...] = ()
    fusion: Literal['auto', 'mean', 'weighted', 'gated', 'concat'] | None = None
    attention: Literal['graph', 'node', 'edge', 'mean'] | None = None
    neighbors: int | None = None
    graph_recall: float | None = None
    embedding_dim: int | None = None
    num_layers: int | None = None
    embedding_l2: float | None = None
    item_dropout: float | None = None
    content_weight: float | None = None
    unobserved_weight: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: float | None = None
    split: Literal['global_time', 'time', 'leave_last_out', 'random', 'none'] | None = None
    folds: int = 1
    loss: Literal['bpr', 'softmax', 'au'] | None = None
    lr: float | None = None
    l2: float | None = None
    temperature: float | None = None
    gamma: float | None = None
    num_negatives: int | None = None
    uniform_users: bool | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    val_users: int | None = None
    precision: str | None = None
    seed: int = 0

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> 'Settings':
        """Return settings from their values in ``config.json``.

        Raises:
            ValueError: If fields are missing or unknown, as in other versions.
        """
        try:
            return cls(**{**settings, 'modalities': tuple(settings['modalities'])})
        except (KeyError, TypeError) as error:
            raise ValueError(
                f'the settings of the run are damaged or of another version ({error}); train again'
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the values of the fields, which :meth:`from_dict` reads."""
        return asdict(self)


_OF_MODELS = (
    'fusion',
    'attention',
    'neighbors',
    'graph_recall',
    'embedding_dim',
    'num_layers',
    'embedding_l2',
    'item_dropout',
    'content_weight',
    'unobserved_weight',
)


def model_options() -> tuple[str, ...]:
    """Return the names of the fields that are arguments of models' constructors."""
    return _OF_MODELS
