import sys
from pathlib import Path
from typing import Any

import tomli_w

from pyg_mmgef.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ['RUN_TOML', 'read_toml', 'settings_of', 'toml_of']

RUN_TOML = 'run.toml'
_HEAD = """\
# The settings of this run, to read and to repeat it:
#   pyg-mmgef train DATASET -o FOLDER --config run.toml
# An option of the command takes the place of a line here.
"""


def toml_of(settings: Settings, dataset: Path | None = None) -> str:
    """Return the text of a file that repeats a run.

    It has all settings but those that the model doesn't have.

    Args:
        settings: Completed settings; those that are chosen anew when the run is repeated are
            :obj:`None`.
        dataset: The folder of the dataset; the command needs one where it is :obj:`None`.
            (default: :obj:`None`)
    """
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in settings.to_dict().items()
        if value not in (None, (), {})
    }
    where = {} if dataset is None else {'dataset': str(dataset)}
    return _HEAD + tomli_w.dumps(where | values)


def settings_of(path: Path) -> Settings:
    """Return the settings in a file that :func:`toml_of` made."""
    values = {'modalities': (), **read_toml(path)}
    values.pop('dataset', None)
    return Settings.from_dict(values)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values in a TOML file.

    Raises:
        ValueError: If it isn't TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:  # Also what isn't UTF-8.
        raise ValueError(f'{str(path)!r} is no TOML file ({error}); repair it') from error
