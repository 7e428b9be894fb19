from dataclasses import fields
from difflib import get_close_matches
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_mmgef.settings import Settings

__all__ = ['ConfigFile']


def _use(context: typer.Context, path: Path | None) -> Path | None:
    """Let the values of a TOML file be the defaults of the command's options."""
    if path is None:
        return None
    from pyg_mmgef.runs.run_toml import read_toml

    values = read_toml(path)
    known = ['dataset', *(field.name for field in fields(Settings))]
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            advice = f'did you mean {near[0]!r}?' if near else f'they are {", ".join(known)}'
            raise ValueError(f'--config {str(path)!r} has an unknown setting {name!r}; {advice}')
    context.default_map = {**(context.default_map or {}), **_as_given(path, values)}
    return path


def _as_given(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return settings as the options of the command take them."""
    options = values.get('options', {})
    if not isinstance(options, dict):
        raise ValueError(f"--config {str(path)!r}: 'options' must be a table (got {options!r})")
    return {**values, 'options': [f'{name}={dumps(value)}' for name, value in options.items()]}


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        '--config',
        help='TOML file of settings, such as the run.toml of a run; options of the command take '
        'the place of what it says.',
        exists=True,
        dir_okay=False,
        is_eager=True,
        callback=_use,
        show_default='none',
    ),
]
"""The option that reads settings from a file."""
