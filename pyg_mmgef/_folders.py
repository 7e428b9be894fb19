from difflib import get_close_matches
from pathlib import Path

from pyg_mmgef._spelling import spelt

__all__ = ['ABOUT', 'CONFIG', 'FEATURES', 'TRAINED_ON', 'VERSIONS', 'check_exists', 'check_output']

ABOUT, CONFIG = 'dataset.json', 'config.json'
"""The files that mark a folder as a dataset, and as a run."""
VERSIONS = 'versions'
"""The folder within a dataset that holds one folder for each version."""
FEATURES = 'features'
"""The folder within a dataset that keeps the vectors of texts and pictures."""
TRAINED_ON = 'trained_on'
"""The folder within a run that holds its dataset."""


def check_exists(path: Path) -> None:
    """Raise a :class:`FileNotFoundError` with a close name if a folder doesn't exist."""
    if path.exists():
        return
    parent = path.absolute().parent
    names = [other.name for other in parent.iterdir()] if parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1)
    advice = f'; did you mean {str(path.with_name(near[0]))!r}?' if near else ''
    raise FileNotFoundError(f"{str(path)!r} doesn't exist{advice}")


def check_output(path: Path) -> None:
    """Raise a :class:`ValueError` if a dataset can't be written to a folder."""
    if (path / CONFIG).exists() or path.resolve().name == TRAINED_ON:
        raise ValueError(f'{str(path)!r} holds a run; give another folder with {spelt("folder")}')
    if path.exists() and not path.is_dir():
        raise ValueError(f'{str(path)!r} is a file; give a folder with {spelt("folder")}')
    ours = any((path / name).exists() for name in (ABOUT, VERSIONS, FEATURES))
    if path.is_dir() and not ours and any(path.iterdir()):
        raise ValueError(
            f'{str(path)!r} holds other files; give a new folder with {spelt("folder")}'
        )
