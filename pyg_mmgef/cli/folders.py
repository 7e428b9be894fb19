from pathlib import Path

__all__ = ['ABOUT', 'CONFIG', 'check_output']

ABOUT, CONFIG = 'dataset.json', 'config.json'
"""The files that mark a folder as a dataset, and as a run."""


def check_output(path: Path) -> None:
    """Raise a :class:`ValueError` if a dataset can't be written to a folder."""
    if (path / CONFIG).exists():
        raise ValueError(f'{str(path)!r} holds a run; give another folder with --output')
    if path.exists() and not path.is_dir():
        raise ValueError(f'{str(path)!r} is a file; give a folder with --output')
