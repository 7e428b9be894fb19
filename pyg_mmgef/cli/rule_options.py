import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer

from pyg_mmgef._spelling import spelt_as_options
from pyg_mmgef.catalog import Rules
from pyg_mmgef.catalog._conditions import parse_condition
from pyg_mmgef.catalog._field import Condition

__all__ = ['parse_rules', 'takes_rules']

T = TypeVar('T', int, float)


def _rule(text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel='Rules', **kwargs)


_OPTIONS: dict[str, Any] = {
    'where': Annotated[
        list[str] | None,
        _rule(
            'What items must fulfil: category=Lamps, price=10..50, price=..50, or in_stock for '
            'those that say yes; repeat a field to allow several values.',
            show_default='all items',
        ),
    ],
    'max_per': Annotated[
        list[str] | None,
        _rule(
            'Most items with the same value of a field, as in brand=2; repeat it for more fields.',
            show_default='no limit',
        ),
    ],
    'boost': Annotated[
        list[str] | None,
        _rule(
            "By how many standard deviations of a user's scores some items rise, as in new=1, "
            'brand=Lumo=0.5 or price=..20=0.5; repeat it.',
            show_default='none',
        ),
    ],
    'pin': Annotated[
        list[str] | None,
        _rule('Id of an item that comes first; repeat it in their order.', show_default='none'),
    ],
    'exclude': Annotated[
        list[str] | None,
        _rule('Id of an item to leave out; repeat it.', show_default='none'),
    ],
    'only': Annotated[
        list[str] | None,
        _rule('Id of an item; repeat it to recommend only these.', show_default='all items'),
    ],
    'repeat': Annotated[
        bool,
        _rule('Recommend items that a user has already, too.', '--repeat', show_default='new ones'),
    ],
    'diversity': Annotated[
        float,
        _rule(
            'How much the items of a list should differ: 0 to 1, where only scores count at 0.',
            min=0,
            max=1,
        ),
    ],
}


def parse_rules(
    where: Sequence[str] | None = None,
    max_per: Sequence[str] | None = None,
    boost: Sequence[str] | None = None,
    pin: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    repeat: bool = False,
    diversity: float = 0.0,
) -> Rules:
    """Return rules from what is typed.

    Args:
        where: Conditions such as ``'category=Lamps'`` and ``'price=10..50'``; several values of a
            field are alternatives. (default: :obj:`None`)
        max_per: Limits such as ``'brand=2'``. (default: :obj:`None`)
        boost: Boosts such as ``'new=1'`` and ``'brand=Lumo=0.5'``. (default: :obj:`None`)
        pin: As in :class:`~pyg_mmgef.catalog.Rules`, like the following. (default: :obj:`None`)
        exclude: (default: :obj:`None`)
        only: (default: :obj:`None`)
        repeat: (default: :obj:`False`)
        diversity: (default: ``0.0``)

    Raises:
        ValueError: If an option can't be understood, with its name.
    """
    with spelt_as_options():
        return Rules(
            repeat=repeat,
            only=only or None,
            exclude=exclude or (),
            where=_conditions(where or ()),
            max_per=dict(_amount('--max-per', 'brand=2', text, int) for text in max_per or ()),
            boost=dict(_amount('--boost', 'new=0.5', text, float) for text in boost or ()),
            pin=pin or (),
            diversity=diversity,
        )


def takes_rules(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: replace a command's argument ``rules`` by an option per rule.

    Messages about rules name options within the command.
    """
    signature = inspect.signature(command)
    own = [parameter for name, parameter in signature.parameters.items() if name != 'rules']
    defaults = inspect.signature(parse_rules).parameters
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name].default, annotation=option
        )
        for name, option in _OPTIONS.items()
    ]

    @wraps(command)
    def with_options(**given: Any) -> None:
        rules = parse_rules(**{name: given.pop(name) for name in _OPTIONS})
        with spelt_as_options():
            command(**given, rules=rules)

    with_options.__signature__ = signature.replace(parameters=own + options)  # type: ignore[attr-defined]
    return with_options


def _conditions(texts: Sequence[str]) -> dict[str, Condition]:
    by_field: dict[str, list[Any]] = {}
    for text in texts:
        name, condition = parse_condition(text)
        if not name:
            raise ValueError(f"--where must look like 'category=Lamps' (got {text!r})")
        by_field.setdefault(name, []).append(condition)
    for name, conditions in by_field.items():
        if len(conditions) > 1 and any(isinstance(c, tuple) for c in conditions):
            raise ValueError(f'--where gives a range of {name!r} and more; give one range')
    return {name: c[0] if len(c) == 1 else c for name, c in by_field.items()}


def _amount(option: str, example: str, text: str, kind: Callable[[str], T]) -> tuple[str, T]:
    name, _, amount = text.rpartition('=')
    try:
        number = kind(amount)
    except ValueError:
        name = ''
    if not name:
        raise ValueError(f'{option} must look like {example!r} (got {text!r})')
    return name, number
