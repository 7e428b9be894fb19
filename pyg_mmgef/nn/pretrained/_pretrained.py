"""What the methods of a recommender do that save and load it."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.pretrained._folder import CONFIG, WEIGHTS, load_model, read_config, save_model
from pyg_mmgef.nn.pretrained._hub import download, upload
from pyg_mmgef.nn.registry import recommenders

__all__ = ['load_pretrained', 'push_to_hub', 'save_pretrained']

Model = TypeVar('Model', bound=Recommender)


def save_pretrained(
    model: Recommender, folder: str | os.PathLike[str], metrics: Mapping[str, float] | None
) -> None:
    """Save a model, see :meth:`Recommender.save_pretrained`."""
    save_model(model, Path(folder), metrics)


def push_to_hub(
    model: Recommender,
    repo_id: str,
    private: bool,
    metrics: Mapping[str, float] | None,
    message: str,
    token: str | None,
) -> str:
    """Save a model in a repository, see :meth:`Recommender.push_to_hub`."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder), metrics)
        return upload(Path(folder), repo_id, private, token, message)


def load_pretrained(
    model: type[Model], name: str | os.PathLike[str], revision: str | None, token: str | None
) -> Model:
    """Load a model of a class, see :meth:`Recommender.from_pretrained`."""
    folder = Path(name)
    if not folder.is_dir():
        if not isinstance(name, str):
            raise FileNotFoundError(f'{str(folder)!r} is no folder; save the model there first')
        folder = download(name, [CONFIG, WEIGHTS], revision, token)
    config = read_config(folder)
    return load_model(_class_of(model, folder, config.get('model')), folder, config)


def _class_of(model: type[Model], folder: Path, name: object) -> type[Model]:
    """Return the class that a configuration names, if it is one that was asked for."""
    if model.__name__ == name:
        return model
    if model is not Recommender:
        raise ValueError(
            f'{str(folder)!r} holds the model {name!r:.80}, not {model.__name__}; load it with '
            'Recommender.from_pretrained, or with its own class'
        )
    known = recommenders()
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f'{str(folder)!r} holds the unknown model {name!r:.80}; this version has '
            f'{", ".join(known)}; a model of your own is loaded with its class'
        )
    return cast(type[Model], known[name])
