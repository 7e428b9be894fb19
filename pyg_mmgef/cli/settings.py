import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import wraps
from typing import Annotated, Any, Literal, get_type_hints

import typer

__all__ = ['Settings', 'flag', 'model_options', 'takes_settings']

MODEL, TRAINING = 'Model', 'Training'
DEFAULT_MODEL = 'contentials'
OF_MODEL = 'of the model, see "pyg-mmgef models"'


def _model(text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=MODEL, **kwargs)


def _training(text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=TRAINING, **kwargs)


def _of_model(text: str, **kwargs: Any) -> Any:
    """Return an option of some models, with the default of the model's constructor."""
    return _model(text, **{'show_default': OF_MODEL, **kwargs})


@dataclass(frozen=True)
class Settings:
    """The options of ``pyg-mmgef train`` that determine, with the dataset, the result of a run.

    The command line is made from the fields, their types and defaults, and ``config.json`` holds
    their values. :obj:`None` means the default of the model or the loss, which
    :func:`~pyg_mmgef.cli.models.complete` fills in.
    """

    model: Annotated[
        str | None,
        _model('Model to train; "pyg-mmgef models" lists all.', show_default=DEFAULT_MODEL),
    ] = None
    preset: Annotated[
        str | None,
        _model(
            'Model with item graphs and options that go together, instead of --model and its '
            'options: best, paper, item_dropout or merged.',
            show_default='none',
        ),
    ] = None
    modalities: Annotated[
        tuple[str, ...],
        _model(
            'Modality to use, such as image or text; repeat it for several.',
            '--modality',
            show_default='all of the dataset',
        ),
    ] = ()
    fusion: Annotated[
        Literal['auto', 'mean', 'weighted', 'gated', 'concat'] | None,
        _model(
            'How the features of the modalities are fused (mmgef only): mean, a learned mean '
            '(weighted or gated), or side by side (concat). auto: mean if one encoder made all of '
            'them, else concat.',
            show_default='auto',
        ),
    ] = None
    attention: Annotated[
        Literal['graph', 'node', 'edge', 'mean'] | None,
        _of_model(
            'Learned weights of the item graphs: one for each graph, for each item (node) or for '
            'each edge; mean: all graphs count the same.'
        ),
    ] = None
    neighbors: Annotated[
        int | None, _of_model('Number of neighbours of an item in the item graphs.', min=1)
    ] = None
    embedding_dim: Annotated[
        int | None, _of_model('Number of channels of the embeddings.', min=1)
    ] = None
    num_layers: Annotated[
        int | None, _of_model('Number of graph convolutions over the interactions.', min=0)
    ] = None
    embedding_l2: Annotated[
        float | None,
        _of_model(
            'Weight of the L2 penalty on the embeddings before the first graph convolution; give '
            '--l2 0 with it.',
            min=0,
        ),
    ] = None
    item_dropout: Annotated[
        float | None,
        _of_model('Share of the items that a training step treats as cold.', min=0, max=1),
    ] = None
    content_weight: Annotated[
        float | None,
        _of_model(
            'How strongly the embedding of an item is pulled towards the prediction from its '
            'features.',
            min=0,
            max=1,
        ),
    ] = None
    unobserved_weight: Annotated[
        float | None,
        _of_model(
            'Weight of the user-item pairs without an interaction.',
            show_default='100 divided by the number of users',
            min=0,
        ),
    ] = None
    tune: Annotated[
        float | None,
        _model(
            'Seconds for trying values of --l2 and --unobserved-weight on validation '
            '(contentials only); 0 keeps their defaults.',
            show_default='60, or 0 if one of the two is given',
            min=0,
        ),
    ] = None
    split: Annotated[
        Literal['random', 'time', 'leave_last_out'],
        _training(
            'Which interactions of each user are held out. random: 10 % for validation and 10 % '
            'for test; time: the same shares, the latest ones; leave_last_out: the last one for '
            'test, the one before for validation.'
        ),
    ] = 'random'
    loss: Annotated[
        Literal['bpr', 'softmax', 'au'] | None,
        _training(
            'Loss of a model that is trained: Bayesian personalised ranking (bpr), sampled softmax '
            '(softmax), or alignment and uniformity (au).',
            show_default='bpr',
        ),
    ] = None
    lr: Annotated[float | None, _training('Learning rate of Adam.', show_default='0.005')] = None
    l2: Annotated[
        float | None,
        _training(
            'Weight of the L2 penalty: with --loss bpr on the embeddings of a batch; also of '
            'contentials, ials, ease and cease.',
            show_default=f'0.001 for bpr, else {OF_MODEL}',
        ),
    ] = None
    temperature: Annotated[
        float | None,
        _training('Temperature, by which scores are divided (softmax only).', show_default='0.2'),
    ] = None
    gamma: Annotated[
        float | None, _training('Weight of the uniformity (au only).', show_default='1.0')
    ] = None
    num_negatives: Annotated[
        int | None,
        _training(
            'Number of negatives, shared by a whole batch (softmax only).',
            show_default='512',
            min=1,
        ),
    ] = None
    uniform_users: Annotated[
        bool | None,
        _training(
            'Sample the users of a batch uniformly, instead of visiting each interaction once in '
            'an epoch.',
            show_default='no-uniform-users',
        ),
    ] = None
    batch_size: Annotated[
        int | None, _training('Interactions per batch.', min=1, show_default='2048')
    ] = None
    epochs: Annotated[
        int | None, _training('Maximum number of epochs.', min=1, show_default='200')
    ] = None
    patience: Annotated[
        int | None,
        _training(
            'Number of epochs without improvement on validation after which training stops.',
            min=1,
            show_default='20',
        ),
    ] = None
    precision: Annotated[
        str | None,
        _training(
            'Precision of the computations, as named by Lightning: 32-true, or bf16-mixed for '
            'mixed precision.',
            show_default='32-true',
        ),
    ] = None
    seed: Annotated[
        int,
        _training('Seed of the split, the initial parameters, the batches and the negatives.'),
    ] = 0

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


_HINTS = get_type_hints(Settings, include_extras=True)


def flag(name: str) -> str:
    """Return the option that sets a field, such as ``'--embedding-dim'``."""
    (option,) = _HINTS[name].__metadata__
    # Typer stores the name that an annotation gives in `default`.
    return option.default if isinstance(option.default, str) else f'--{name.replace("_", "-")}'


def model_options() -> list[str]:
    """Return the names of the fields that are arguments of models' constructors."""
    own = {'model', 'preset', 'modalities', 'tune'}
    return [
        name
        for name, hint in _HINTS.items()
        if hint.__metadata__[0].rich_help_panel == MODEL and name not in own
    ]


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: replace a command's argument ``settings`` by an option per field."""
    own = [
        parameter
        for name, parameter in inspect.signature(command).parameters.items()
        if name != 'settings'
    ]
    options = []
    for field in fields(Settings):
        hint, default = _HINTS[field.name], field.default
        if field.name == 'modalities':  # Typer needs a list for an option that may be repeated.
            hint, default = Annotated[list[str] | None, hint.__metadata__[0]], None
        options.append(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
        )

    @wraps(command)
    def with_options(**given: Any) -> None:
        values = {field.name: given.pop(field.name) for field in fields(Settings)}
        values['modalities'] = tuple(values['modalities'] or ())
        command(**given, settings=Settings(**values))

    with_options.__signature__ = inspect.Signature(own + options)  # type: ignore[attr-defined]
    return with_options
