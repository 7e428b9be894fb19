import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ['Settings']

VARIABLE = 'PYG_MMGEF_SERVING'
TOKEN = 'PYG_MMGEF_TOKEN'
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Settings:
    """What a server is started with; worker processes read it from their environment.

    Args:
        export: Folder of the export.
        changes: File in which changes of items are kept; :obj:`None` is one beside the export,
            with its name and ``.changes.sqlite``. (default: :obj:`None`)
        token_file: File with the token that changes of items need; :obj:`None` takes it from the
            environment variable ``PYG_MMGEF_TOKEN``, and without one, nobody can change items.
            (default: :obj:`None`)
        queue: Number of requests that may wait in a worker; further ones are answered by 503.
            (default: ``256``)
        patience: Seconds after which a request that waits is answered by 503. (default: ``2.0``)
        poll: Seconds between looks for a new export. (default: ``1.0``)

    Raises:
        ValueError: If a number isn't positive.
    """

    export: Path
    changes: Path | None = None
    token_file: Path | None = None
    queue: int = 256
    patience: float = 2.0
    poll: float = 1.0

    def __post_init__(self) -> None:
        for name in ('queue', 'patience', 'poll'):
            if getattr(self, name) <= 0:
                raise ValueError(f'{name!r} must be positive (got {getattr(self, name)!r})')

    @property
    def changes_file(self) -> Path:
        """The file in which changes of items are kept."""
        if self.changes is not None:
            return self.changes
        export = Path(os.path.abspath(self.export))  # A link keeps its own changes.
        return export.with_name(f'{export.name}.changes.sqlite')

    def token(self) -> str | None:
        """Return the token that changes of items need, or :obj:`None`.

        Raises:
            OSError: If the file can't be read.
            ValueError: If the token is short.
        """
        if self.token_file is not None:
            token, source = self.token_file.read_text().strip(), f'{str(self.token_file)!r}'
        else:
            token, source = os.environ.get(TOKEN, '').strip(), f'the variable {TOKEN}'
            if not token:
                return None
        if len(token) < SHORTEST_TOKEN or not token.isascii():
            raise ValueError(
                f'the token in {source} must have {SHORTEST_TOKEN} ASCII characters or more; make '
                'one with: python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        return token

    def to_environment(self) -> None:
        """Put the settings into the environment, for the workers."""
        plain = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }
        os.environ[VARIABLE] = json.dumps(plain)

    @classmethod
    def from_environment(cls) -> 'Settings':
        """Return the settings that :meth:`to_environment` has put there."""
        found = json.loads(os.environ[VARIABLE])
        paths = {
            name: Path(found.pop(name))
            for name in ('export', 'changes', 'token_file')
            if found[name] is not None
        }
        return cls(**{**found, **paths})
