"""The Hugging Face Hub, with a folder in its place."""

import builtins
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError

from pyg_mmgef.nn import LightGCN, Recommender


class Address(str):
    """What the Hub says of a new repository."""

    @property
    def repo_id(self) -> str:
        return str(self)


class Hub:
    """Repositories in a folder, through the functions of huggingface_hub that are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.tokens: list[str | None] = []

    def api(self, token: str | None = None) -> 'Hub':
        self.tokens.append(token)
        return self

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        assert exist_ok
        repo_id = repo_id if '/' in repo_id else f'me/{repo_id}'
        self.private.setdefault(repo_id, private)
        return Address(repo_id)

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        assert repo_id in self.private
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)
        self.messages.append(commit_message)

    def snapshot(
        self,
        repo_id: str,
        *,
        revision: str | None,
        token: str | None,
        allow_patterns: Sequence[str],
    ) -> str:
        if not (self.folder / repo_id).is_dir() or revision not in (None, 'main'):
            raise FileNotFoundError(f'no repository {repo_id} at {revision}')
        self.tokens.append(token)
        folder = self.folder / 'snapshots' / repo_id
        folder.mkdir(parents=True)
        for name in allow_patterns:
            shutil.copy(self.folder / repo_id / name, folder)
        return str(folder)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, 'HfApi', hub.api)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', hub.snapshot)
    return hub


def test_there_and_back(hub: Hub) -> None:
    model = LightGCN(4, 5, embedding_dim=3)
    address = model.push_to_hub('shop/stools', metrics={'recall@20': 0.5}, token='secret')
    assert address == 'shop/stools'
    assert hub.private == {'shop/stools': True}
    assert hub.messages == ['Save the model']
    assert 'recall@20' in (hub.folder / 'shop/stools/README.md').read_text()
    loaded = Recommender.from_pretrained('shop/stools', revision='main', token='secret')
    assert isinstance(loaded, LightGCN)
    assert torch.equal(loaded.item_embedding.weight, model.item_embedding.weight)
    assert hub.tokens == ['secret', 'secret']


def test_a_public_repository_in_ones_own_name(hub: Hub) -> None:
    address = LightGCN(4, 5).push_to_hub('stools', private=False, message='First')
    assert address == 'me/stools'
    assert hub.private == {'me/stools': False}
    assert hub.messages == ['First']


@pytest.mark.parametrize('name', ['no/such/folder', '', '../up', 'a b', 'owner/', '-x'])
def test_neither_a_folder_nor_a_repository(hub: Hub, name: str) -> None:
    with pytest.raises(ValueError, match='name of a repository, such as owner/name'):
        LightGCN(4, 5).push_to_hub(name)
    if name:  # An empty path is the folder that one is in.
        with pytest.raises(ValueError, match='is neither a folder nor the name of a repository'):
            Recommender.from_pretrained(name)


def test_a_repository_that_is_not_there(hub: Hub) -> None:
    message = r"'shop/sofas' is no folder here, and no .* \(no repository shop/sofas at None\)"
    with pytest.raises(OSError, match=message):
        Recommender.from_pretrained('shop/sofas')
    with pytest.raises(FileNotFoundError, match="'shop/sofas' is no folder"):  # A path is a path.
        Recommender.from_pretrained(Path('shop/sofas'))
    assert issubclass(RepositoryNotFoundError, OSError)  # What the Hub raises itself.


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == 'huggingface_hub':
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    message = r"install it with pip install 'pyg-mmgef\[hub\]'"
    with pytest.raises(ImportError, match=message):
        Recommender.from_pretrained('shop/stools')
    model = LightGCN(4, 5)
    with pytest.raises(ImportError, match=message):
        model.push_to_hub('shop/stools')
    model.save_pretrained(tmp_path)  # A folder needs no Hub.
    assert repr(Recommender.from_pretrained(tmp_path)) == repr(model)
