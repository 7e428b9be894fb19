import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial, wraps
from typing import Annotated, Any, get_type_hints, overload

import typer

from pyg_mmgef.settings import DEFAULT_MODEL, Settings

__all__ = ['option_of', 'takes_settings']

MODEL, TRAINING = 'Model', 'Training'
REPEATED = 'modalities', 'options'
OF_MODEL = 'of the model, see "pyg-mmgef models"'


def _model(text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=MODEL, **kwargs)


def _training(text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=TRAINING, **kwargs)


def _of_model(text: str, **kwargs: Any) -> Any:
    """Return an option of some models, with the default of the model's constructor."""
    return _model(text, **{'show_default': OF_MODEL, **kwargs})


_OPTIONS: dict[str, Any] = {
    'model': _model('Model to train; "pyg-mmgef models" lists all.', show_default=DEFAULT_MODEL),
    'preset': _model(
        'Model with item graphs and options that go together, instead of --model and its '
        'options: best, paper, item_dropout or merged.',
        show_default='none',
    ),
    'modalities': _model(
        'Modality to use, such as image or text; repeat it for several.',
        '--modality',
        show_default='all of the dataset',
    ),
    'fusion': _model(
        'How the features of the modalities are fused (mmgef only): mean, a learned mean '
        '(weighted or gated), or side by side (concat). auto: mean if one encoder made all of '
        'them, else concat.',
        show_default='auto',
    ),
    'attention': _of_model(
        'Learned weights of the item graphs: one for each graph, for each item (node) or for '
        'each edge; mean: all graphs count the same.'
    ),
    'neighbors': _of_model('Number of neighbours of an item in the item graphs.', min=1),
    'graph_recall': _of_model(
        'Share of the nearest items that the item graphs of content must have; below 1, an index '
        'finds them faster.',
        show_default='1, or 0.95 for many items',
        min=0,
        max=1,
    ),
    'embedding_dim': _of_model('Number of channels of the embeddings.', min=1),
    'num_layers': _of_model('Number of graph convolutions over the interactions.', min=0),
    'embedding_l2': _of_model(
        'Weight of the L2 penalty on the embeddings before the first graph convolution; give '
        '--l2 0 with it.',
        min=0,
    ),
    'item_dropout': _of_model(
        'Share of the items that a training step treats as cold.', min=0, max=1
    ),
    'content_weight': _of_model(
        'How strongly the embedding of an item is pulled towards the prediction from its features.',
        min=0,
        max=1,
    ),
    'unobserved_weight': _of_model(
        'Weight of the user-item pairs without an interaction.',
        show_default='100 divided by the number of users',
        min=0,
    ),
    'options': _model(
        'Other argument of the model, as NAME=VALUE; repeat it for several.',
        '--set',
        show_default='none',
    ),
    'budget': _model(
        'Seconds after which no further values of --l2 and --unobserved-weight are tried on '
        'validation (contentials only); 0 keeps their defaults.',
        show_default='none, nine values are tried unless one of the two is given',
        min=0,
    ),
    'split': _training(
        'Which interactions are held out, 10 % for validation and 10 % for test. global_time: '
        'the latest ones of all; time: the latest ones of each user; random: random ones of each '
        'user; leave_last_out: the last one of each user for test, the one before for validation. '
        'none is what the command refit uses.',
        show_default='global_time, or random if there are no times',
    ),
    'folds': _training(
        'Number of times at which the same is measured, the earlier ones for back-testing '
        '(--split global_time only).',
        min=1,
    ),
    'loss': _training(
        'Loss of a model that is trained: Bayesian personalised ranking (bpr), sampled softmax '
        '(softmax), or alignment and uniformity (au).',
        show_default='bpr',
    ),
    'lr': _training('Learning rate of Adam.', show_default='0.005, or more for large batches'),
    'l2': _training(
        'Weight of the L2 penalty: with --loss bpr on the embeddings of a batch; also of '
        'contentials, ials, ease and cease.',
        show_default=f'0.001 for bpr, else {OF_MODEL}',
    ),
    'temperature': _training(
        'Temperature, by which scores are divided (softmax only).', show_default='0.2'
    ),
    'gamma': _training('Weight of the uniformity (au only).', show_default='1.0'),
    'num_negatives': _training(
        'Number of negatives, shared by a whole batch (softmax only).',
        show_default='512',
        min=1,
    ),
    'uniform_users': _training(
        'Sample the users of a batch uniformly, instead of visiting each interaction once in '
        'an epoch.',
        show_default='no-uniform-users',
    ),
    'batch_size': _training(
        'Interactions per batch.', min=1, show_default='2048, or more for many interactions'
    ),
    'epochs': _training('Maximum number of epochs.', min=1, show_default='200'),
    'patience': _training(
        'Number of epochs without improvement on validation after which training stops.',
        min=1,
        show_default='20',
    ),
    'val_users': _training(
        'Number of users, sampled, whose validation interactions choose the epoch, or the options '
        'of contentials; the metrics of the run are those of all.',
        show_default='all, or 10,000 where the ranking would take long',
        min=1,
    ),
    'precision': _training(
        'Precision of the computations, as named by Lightning: 32-true, or bf16-mixed for '
        'mixed precision.',
        show_default='32-true',
    ),
    'seed': _training('Seed of the split, the initial parameters, the batches and the negatives.'),
}
"""The option of each field of the settings."""


def option_of(name: str) -> Any:
    """Return the option that sets a field of the settings."""
    return _OPTIONS[name]


def _named_value(text: str) -> tuple[str, Any]:
    """Return the name and the value of ``NAME=VALUE``: a number or such where it is JSON."""
    name, equals, value = text.partition('=')
    if not equals or not name:
        raise ValueError(f'--set must be NAME=VALUE (got {text!r})')
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value.strip()


Command = Callable[..., None]


@overload
def takes_settings(command: Command) -> Command: ...


@overload
def takes_settings(*, without: Sequence[str]) -> Callable[[Command], Command]: ...


def takes_settings(
    command: Command | None = None, *, without: Sequence[str] = ()
) -> Command | Callable[[Command], Command]:
    """Decorator: replace a command's argument ``settings`` by an option per field.

    Args:
        command: The command.
        without: Fields that have no option. (default: ``()``)
    """
    if command is None:
        return partial(
            _with_settings, names=[x.name for x in fields(Settings) if x.name not in without]
        )
    return _with_settings(command, [field.name for field in fields(Settings)])


def _with_settings(command: Command, names: Sequence[str]) -> Command:
    own = [
        parameter
        for name, parameter in inspect.signature(command).parameters.items()
        if name != 'settings'
    ]
    hints = get_type_hints(Settings)
    defaults = {field.name: field.default for field in fields(Settings)}
    options = []
    for name in names:
        hint, default = hints[name], defaults[name]
        if name in REPEATED:  # Typer needs a list for an option that may be repeated.
            hint, default = list[str] | None, None
        options.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[hint, _OPTIONS[name]],
            )
        )

    @wraps(command)
    def with_options(**given: Any) -> None:
        values = {name: given.pop(name) for name in names}
        values['modalities'] = tuple(values['modalities'] or ())
        values['options'] = dict(map(_named_value, values['options'] or ()))
        command(**given, settings=Settings(**values))

    with_options.__signature__ = inspect.Signature(own + options)  # type: ignore[attr-defined]
    return with_options
