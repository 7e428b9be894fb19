"""Repositories of the Hugging Face Hub; the package for it is optional."""

import re
from pathlib import Path
from types import ModuleType

__all__ = ['download', 'upload']

REPOSITORY = re.compile(r'[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?')


def _library() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            'a repository of the Hugging Face Hub needs the package huggingface_hub; install it '
            "with pip install 'pyg-mmgef[hub]'"
        ) from error
    return huggingface_hub


def download(repo_id: str, files: list[str], revision: str | None, token: str | None) -> Path:
    """Return a folder with some files of a repository; they are downloaded once.

    Raises:
        ImportError: If huggingface_hub isn't installed.
        ValueError: If it is no name of a repository.
        OSError: If it can't be downloaded.
    """
    if not REPOSITORY.fullmatch(repo_id):
        raise ValueError(
            f'{repo_id!r} is neither a folder nor the name of a repository, such as owner/name'
        )
    hub = _library()
    options = {'revision': revision, 'token': token, 'allow_patterns': files}
    try:
        return Path(hub.snapshot_download(repo_id, **options))
    except OSError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f'{repo_id!r} is no folder here, and no repository that can be downloaded ({reason})'
        ) from error


def upload(folder: Path, repo_id: str, private: bool, token: str | None, message: str) -> str:
    """Upload a folder as a repository, which is created if it doesn't exist; return its address.

    Raises:
        ImportError: If huggingface_hub isn't installed.
        ValueError: If it is no name of a repository.
        OSError: If it can't be uploaded.
    """
    if not REPOSITORY.fullmatch(repo_id):
        raise ValueError(
            f"'repo_id' must be the name of a repository, such as owner/name (got {repo_id!r})"
        )
    api = _library().HfApi(token=token)
    created = api.create_repo(repo_id, private=private, exist_ok=True)
    api.upload_folder(repo_id=created.repo_id, folder_path=folder, commit_message=message)
    return str(created)
