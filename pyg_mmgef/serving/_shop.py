import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pyg_mmgef.serving import _metrics as metrics
from pyg_mmgef.serving._item_changes import ItemChanges
from pyg_mmgef.serving.engine import Ask, Engine
from pyg_mmgef.serving.export_folder import files_of, load_export
from pyg_mmgef.serving.settings import Settings

__all__ = ['Job', 'NotReady', 'Shop']

Signature: TypeAlias = tuple[tuple[Any, ...], ...]
Job: TypeAlias = Ask | Callable[[Engine], Any]
"""A request for items, or a function of the engine, which runs in the thread that owns it."""


class NotReady(RuntimeError):
    """No export could be read yet."""


class Shop:
    """An export, which newer ones replace, with the changes of its items.

    :meth:`do` belongs to one thread, a second one of the object's own reads newer exports.

    Args:
        settings: Where the export and the changes are.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder, self._poll = settings.export, settings.poll
        path = settings.changes_file
        is_open = path.exists() or settings.token() is not None
        self._changes = ItemChanges(path) if is_open else None
        self._changes_path = path
        self._newest: Engine | None = None
        self._served: Signature | None = None
        self._tried: Signature | None = None
        self.refused: str | None = None
        """Why what lies in the folder now isn't served, or :obj:`None`."""
        self._stopped = threading.Event()
        self.look()
        self._watcher = threading.Thread(target=self._watch, name='watcher', daemon=True)
        self._watcher.start()

    @property
    def engine(self) -> Engine | None:
        """That of the newest export that could be read, :obj:`None` if there is none yet."""
        return self._newest

    def do(self, jobs: Sequence[Job]) -> list[Any]:
        """Return the result of each job, or the exception that it has raised."""
        try:
            engine = self._current()
        except NotReady as error:
            return [error] * len(jobs)
        results: list[Any] = [None] * len(jobs)
        asks = [(place, job) for place, job in enumerate(jobs) if isinstance(job, Ask)]
        answers = engine.answer([ask for _, ask in asks])
        for (place, _), answer in zip(asks, answers, strict=True):
            results[place] = answer
        for place, job in enumerate(jobs):
            if not isinstance(job, Ask):
                try:
                    results[place] = job(engine)
                except Exception as error:
                    results[place] = error
        return results

    def look(self) -> None:
        """Read the export if it is another than the one that is served.

        One that is damaged is refused, and the one before goes on. It is tried again when a file
        in its folder changes.
        """
        try:
            found = _signature(self._folder)
            if found in (self._served, self._tried):
                return
            self._tried = found
            export = load_export(self._folder)
            self.refused, self._served = None, found
            if self._newest is None or self._newest.export.version != export.version:
                self._newest = self._prepared(Engine(export))
                metrics.LOADS.inc()
        except Exception as error:  # Whatever is wrong with it, the one before goes on.
            is_known = isinstance(error, OSError | ValueError)
            self.refused = str(error) if is_known else f'{type(error).__name__}: {error}'
        metrics.REFUSED.set(self.refused is not None)

    def stop(self) -> None:
        """End the thread that looks for newer exports, and close the changes."""
        self._stopped.set()
        self._watcher.join()
        if self._changes is not None:
            self._changes.close()

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll):
            self.look()

    def _prepared(self, engine: Engine) -> Engine:
        """Apply the changes there are, so that few are left when the engine is switched to."""
        if self._changes is not None:
            changes = ItemChanges(self._changes_path)  # Each thread has its own connection.
            engine.apply(changes.since(0))
            changes.close()
        return engine

    def _current(self) -> Engine:
        """Return the newest engine with all changes that are on the disk."""
        engine = self._newest
        if engine is None:
            raise NotReady(self.refused or 'no export was read yet')
        if self._changes is not None:
            engine.apply(self._changes.news(engine.items.number))
        return engine


def _signature(folder: Path) -> Signature:
    """Return what changes with the files of an export, that of its export.json first."""
    found = [(path, path.stat()) for path in files_of(folder) if path.exists()]
    return tuple((str(path), s.st_ino, s.st_mtime_ns, s.st_size) for path, s in found)
