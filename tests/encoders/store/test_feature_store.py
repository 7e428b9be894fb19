import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyg_mmgef.encoders import FeatureStore, MissingItem, PixelEncoder, TitleEncoder
from pyg_mmgef.encoders.store import _contents, _manifest
from tests.encoders.counting_encoder import CountingEncoder

NUM_FILES = 9
ROOT = Path(__file__).parents[3]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / 'pictures'
    folder.mkdir()
    paths = [folder / f'{n}.jpg' for n in range(NUM_FILES)]
    for n, path in enumerate(paths):
        path.write_bytes(bytes([65 + n]) * (n + 1))
    return paths


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / 'store', timeout=0.2)


def rows(*numbers: int, scale: float = 1.0) -> Tensor:
    """What the encoder gives the files of these numbers."""
    return torch.tensor([[scale * (n + 1), scale * (65 + n), scale] for n in numbers])


def manifest_of(store: FeatureStore, name: str = 'image') -> Path:
    return store.folder / name / 'manifest.json'


def array_of(store: FeatureStore, name: str = 'image', kind: str = 'x') -> Path:
    (path,) = (store.folder / name).glob(f'{kind}-*.npy')
    return path


def test_vectors_and_what_is_left_on_disk(store: FeatureStore, files: list[Path]) -> None:
    x, has = store.images(CountingEncoder(), files, batch_size=4)
    assert torch.equal(x, rows(*range(NUM_FILES)))
    assert x.dtype == torch.float32
    assert has.tolist() == NUM_FILES * [True]
    assert store.report() == []
    assert np.load(array_of(store), allow_pickle=False).tolist() == x.tolist()
    assert repr(store) == f'FeatureStore({str(store.folder)!r})'


def test_nothing_changed_calls_nobody(store: FeatureStore, files: list[Path]) -> None:
    first, _ = store.images(CountingEncoder(), files)
    encoder: Any = CountingEncoder()
    encoder.encode_images = None
    x, has = store.images(encoder, files)
    assert torch.equal(x, first)
    assert has.all()


def test_settled_files_are_not_opened(
    store: FeatureStore, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    hash_file = _contents._hash_file

    def count(path: str) -> str:
        hashed.append(Path(path).name)
        return hash_file(path)

    monkeypatch.setattr(_contents, '_hash_file', count)
    store.images(CountingEncoder(), files)
    store.images(CountingEncoder(), files)
    assert len(hashed) == 2 * NUM_FILES  # files this young may change unseen
    monkeypatch.setattr(_contents, '_SETTLED_NS', -1)
    store.images(CountingEncoder(), files)
    hashed.clear()
    store.images(CountingEncoder(), files)
    assert hashed == []
    os.utime(files[2], ns=(1, 1))
    encoder = CountingEncoder()
    store.images(encoder, files)
    assert hashed == ['2.jpg']
    assert encoder.seen == []


def test_only_what_changed_is_encoded(store: FeatureStore, files: list[Path]) -> None:
    store.images(CountingEncoder(), files)
    files[3].write_bytes(b'Z')  # same path
    files[4].rename(files[4].with_name('moved.jpg'))
    order = [8, 3, 0, 4, 1]
    paths = [files[n] for n in order]
    paths[3] = files[4].with_name('moved.jpg')
    new = files[0].with_name('new.jpg')
    new.write_bytes(b'YY')
    encoder = CountingEncoder()
    x, _ = store.images(encoder, [*paths, new])
    assert sorted(encoder.seen) == ['3.jpg', 'new.jpg']
    expected = rows(*order, 0)
    expected[1] = torch.tensor([1.0, ord('Z'), 1.0])
    expected[5] = torch.tensor([2.0, ord('Y'), 1.0])
    assert torch.equal(x, expected)
    array_of(store)  # one array is left


def test_equal_contents_are_encoded_once(store: FeatureStore, files: list[Path]) -> None:
    copy = files[0].with_name('copy.jpg')
    shutil.copy(files[1], copy)
    encoder = CountingEncoder()
    x, _ = store.images(encoder, [files[1], copy, files[0], files[1]], batch_size=1)
    assert encoder.seen == ['1.jpg', '0.jpg']
    assert torch.equal(x, rows(1, 1, 0, 1))


def test_another_encoder_encodes_everything(store: FeatureStore, files: list[Path]) -> None:
    first, _ = store.images(CountingEncoder(), files)
    encoder = CountingEncoder(scale=2.0)
    x, _ = store.images(encoder, files)
    assert len(encoder.seen) == NUM_FILES
    assert torch.equal(x, rows(*range(NUM_FILES), scale=2.0))
    assert torch.equal(first, rows(*range(NUM_FILES)))  # still mapped


def test_what_is_written_to_the_vectors_stays_in_memory(
    store: FeatureStore, files: list[Path]
) -> None:
    store.images(CountingEncoder(), files)[0].zero_()
    assert torch.equal(store.images(CountingEncoder(), files)[0], rows(*range(NUM_FILES)))


def test_missing_pictures_are_reported_and_remembered(
    store: FeatureStore, files: list[Path], tmp_path: Path
) -> None:
    files[1].write_bytes(b'bad one')
    files[2].write_bytes(b'')
    paths = [files[0], None, files[1], tmp_path / 'nowhere.jpg', tmp_path, files[2]]
    expected = [
        MissingItem(1, None, 'no picture given'),
        MissingItem(2, str(files[1]), 'not a picture'),
        MissingItem(3, str(tmp_path / 'nowhere.jpg'), 'no such file'),
        MissingItem(4, str(tmp_path), 'a folder, not a file'),
        MissingItem(5, str(files[2]), 'the file is empty'),
    ]
    for seen in (['0.jpg', '1.jpg', '2.jpg'], []):
        encoder = CountingEncoder()
        with pytest.warns(UserWarning, match='4 of 5 pictures could not be read') as record:
            x, has = store.images(encoder, paths)
        assert len(record) == 1
        assert record[0].filename == __file__
        assert has.tolist() == [True] + 5 * [False]
        assert torch.equal(x, torch.cat([rows(0), torch.zeros(5, 3)]))
        assert encoder.seen == seen
        assert store.report() == expected
    (tmp_path / 'nowhere.jpg').write_bytes(b'A')  # same content as the first
    with pytest.warns(UserWarning, match='3 of 5'):
        x, has = store.images(CountingEncoder(), paths)
    assert torch.equal(x[3], x[0])


def test_a_pipe_does_not_block(store: FeatureStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.jpg')
    with pytest.warns(UserWarning, match='a pipe, socket or device'):
        _, has = store.images(PixelEncoder(), [tmp_path / 'pipe.jpg'])
    assert has.tolist() == [False]


def test_empty_and_all_missing(store: FeatureStore) -> None:
    for paths in ([], [None, None]):
        for _ in range(2):
            x, has = store.images(CountingEncoder(), paths)
            assert x.shape == (len(paths), 3)
            assert has.tolist() == len(paths) * [False]
            assert (x == 0).all()


def test_texts(store: FeatureStore) -> None:
    texts = ['AB', None, ' ', 'C', 'AB', 'bad']
    for seen in (['AB', 'C', 'bad'], []):
        encoder = CountingEncoder()
        with pytest.warns(UserWarning, match=r"^1 of 4 texts have no word .*: 'bad'$") as record:
            x, has = store.texts(encoder, texts)
        assert len(record) == 1
        assert record[0].filename == __file__
        assert encoder.seen == seen
        assert has.tolist() == [True, False, False, True, True, False]
        assert x.tolist() == [
            [2, 65, 1], [0, 0, 0], [0, 0, 0], [1, 67, 1], [2, 65, 1], [0, 0, 0],
        ]  # fmt: skip
    assert [(item.row, item.reason) for item in store.report('text')] == [
        (1, 'no text given'),
        (2, 'the text is blank'),
        (5, 'the encoder gave no vector for this text'),
    ]


def test_texts_without_a_word_are_counted_once(store: FeatureStore) -> None:
    titles = ['red lamp', '!!!', 'blue lamp', '...', None]
    with pytest.warns(UserWarning, match='^2 of 4 texts have no word') as record:
        store.texts(TitleEncoder(4).fit(titles), titles, batch_size=1)
    assert len(record) == 1


def test_several_pictures_give_their_mean(store: FeatureStore, files: list[Path]) -> None:
    files[3].write_bytes(b'bad one')
    pictures = [[files[0], files[1]], None, [], files[2], [files[3], files[1]], [files[3]]]
    with pytest.warns(UserWarning, match='2 of 6 pictures could not be read'):
        x, has = store.images(CountingEncoder(), pictures, batch_size=2)
    first, second, third = rows(0, 1, 2)
    expected = torch.stack([(first + second) / 2, third, second])
    assert torch.equal(x[has], expected)
    assert has.tolist() == [True, False, False, True, True, False]
    assert not x[~has].any()
    assert [(item.row, item.path and Path(item.path).name) for item in store.report()] == [
        (1, None),
        (2, None),
        (4, '3.jpg'),
        (5, '3.jpg'),
    ]
    loaded, has_loaded = store.load('image')
    assert torch.equal(loaded, x)
    assert torch.equal(has_loaded, has)


def test_each_of_several_pictures_is_encoded_once(store: FeatureStore, files: list[Path]) -> None:
    store.images(CountingEncoder(), [[files[0], files[1]], files[2]])
    encoder = CountingEncoder()
    x, _ = store.images(encoder, [[files[0], files[1], files[3]], files[2]])
    assert encoder.seen == ['3.jpg']
    assert torch.equal(x[0], rows(0, 1, 3).mean(dim=0))
    first, _ = store.images(encoder, files[:4])
    assert encoder.seen == ['3.jpg']
    assert torch.equal(first, rows(0, 1, 2, 3))
    assert torch.equal(store.load('image')[0], first)


def test_lists_of_one_picture_are_mapped_to_memory(store: FeatureStore, files: list[Path]) -> None:
    x, _ = store.images(CountingEncoder(), [[files[0]], [], [files[1]]])
    assert x.tolist() == [*rows(0).tolist(), [0, 0, 0], *rows(1).tolist()]
    assert json.loads(manifest_of(store).read_text())['content']['sizes'] is None


def test_a_manifest_of_before_is_read(store: FeatureStore, files: list[Path]) -> None:
    x, _ = store.images(CountingEncoder(), files)
    stored = json.loads(manifest_of(store).read_text())
    del stored['content']['sizes']
    stored['checksum'] = _manifest._checksum(stored['content'])
    manifest_of(store).write_text(json.dumps(stored))
    assert torch.equal(store.load('image')[0], x)


def test_titles_need_a_fitted_encoder(store: FeatureStore) -> None:
    titles = ['red lamp', 'blue lamp', 'red chair', 'oak table']
    with pytest.raises(ValueError, match='is not fitted'):
        store.texts(TitleEncoder(4), titles)
    encoder = TitleEncoder(4).fit(titles)
    x, has = store.texts(encoder, titles, batch_size=1)
    assert has.all()
    assert torch.allclose(x, encoder.encode_texts(titles)[0], atol=1e-6)


# --- what was damaged ---------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_shape(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def other_type(path: Path) -> None:
    np.save(path, np.zeros(np.load(path).shape, dtype=np.float64))


def pickled(path: Path) -> None:
    np.save(path, np.array([{'a': 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize('kind', ['x', 'marks'])
@pytest.mark.parametrize('damage', [truncate, other_shape, other_type, pickled, Path.unlink])
def test_damaged_arrays_are_made_anew(
    store: FeatureStore, files: list[Path], kind: str, damage: Callable[[Path], None]
) -> None:
    store.images(CountingEncoder(), files)
    damage(array_of(store, kind=kind))
    encoder = CountingEncoder()
    with pytest.warns(UserWarning, match='are damaged .* and are encoded again') as record:
        x, _ = store.images(encoder, files)
    assert record[0].filename == __file__
    assert len(encoder.seen) == NUM_FILES
    assert torch.equal(x, rows(*range(NUM_FILES)))
    assert store.images(encoder, files)[1].all()
    assert len(encoder.seen) == NUM_FILES


def test_a_damaged_vector_is_encoded_again(store: FeatureStore, files: list[Path]) -> None:
    store.images(CountingEncoder(), files)
    path = array_of(store)
    vectors = np.load(path)
    vectors[2, 1] += 1
    vectors[[5, 6]] = vectors[[6, 5]]
    np.save(path, vectors)
    encoder = CountingEncoder()
    x, _ = store.images(encoder, files)
    assert encoder.seen == ['2.jpg', '5.jpg', '6.jpg']
    assert torch.equal(x, rows(*range(NUM_FILES)))


@pytest.mark.parametrize('damage', [truncate, garble])
def test_a_damaged_manifest(
    store: FeatureStore, files: list[Path], damage: Callable[[Path], None]
) -> None:
    store.images(CountingEncoder(), files)
    damage(manifest_of(store))
    with pytest.raises(ValueError, match='are damaged'):
        store.report()
    with pytest.warns(UserWarning, match='are damaged'):
        x, _ = store.images(CountingEncoder(), files)
    assert torch.equal(x, rows(*range(NUM_FILES)))
    assert store.report() == []


@pytest.mark.parametrize('content', [{'name': 'another program'}, [], 3, {'format': None}])
def test_foreign_manifests_are_refused(
    store: FeatureStore, files: list[Path], content: object
) -> None:
    manifest_of(store).parent.mkdir(parents=True)
    manifest_of(store).write_text(json.dumps(content))
    with pytest.raises(ValueError, match='was not written by FeatureStore'):
        store.images(CountingEncoder(), files)
    assert json.loads(manifest_of(store).read_text()) == content


def test_a_later_version_is_refused(store: FeatureStore, files: list[Path]) -> None:
    store.images(CountingEncoder(), files)
    manifest = json.loads(manifest_of(store).read_text()) | {'version': 99}
    manifest_of(store).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match='has version 99'):
        store.images(CountingEncoder(), files)


# --- what encoders do wrong ----------------------------------------------------------------------


class _Wrong(CountingEncoder):
    def __init__(self, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.change = change

    def encode_images(self, paths: Sequence[Any]) -> tuple[Tensor, Tensor]:
        return self.change(*super().encode_images(paths))


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda x, has: (x.double(), has), 'must return float32'),
        (lambda x, has: (x, has.long()), 'must return float32'),
        (lambda x, has: (x[:-1], has), 'must return float32'),
        (lambda x, has: (x / 0, has), 'NaN or infinite values for row 0'),
        (lambda x, has: (x[:, : 1 + len(x)], has), 'vectors of length 3 after others of length 2'),
    ],
)
def test_wrong_vectors_are_refused(
    store: FeatureStore, files: list[Path], change: Any, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        store.images(_Wrong(change), files)


def test_vectors_of_missing_pictures_are_zero(store: FeatureStore, files: list[Path]) -> None:
    with pytest.warns(UserWarning, match='not a picture'):
        x, has = store.images(_Wrong(lambda x, has: (x, has & (x[:, 0] > 2))), files)
    assert has.tolist() == [False, False, *(7 * [True])]
    assert (x[~has] == 0).all()


def test_a_picture_that_changes_while_it_is_encoded(store: FeatureStore, files: list[Path]) -> None:
    def change(x: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
        files[1].write_bytes(b'another content')
        return x, has

    with pytest.raises(RuntimeError, match=r'1.jpg. changed while it was encoded'):
        store.images(_Wrong(change), files, batch_size=3)
    encoder = CountingEncoder()
    x, _ = store.images(encoder, files)
    assert encoder.seen == [f'{n}.jpg' for n in range(1, NUM_FILES) if n != 2]
    assert x[1].tolist() == [15, ord('a'), 1]


def test_loads_without_the_encoder(store: FeatureStore, files: list[Path]) -> None:
    x, has = store.images(CountingEncoder(), [files[0], None, *files[1:]])
    loaded = store.load('image')
    assert torch.equal(loaded[0], x)
    assert torch.equal(loaded[1], has)
    with pytest.raises(FileNotFoundError, match='no features'):
        store.load('text')
    vectors = array_of(store)
    garble(vectors)
    with pytest.raises(ValueError, match='encode again'):
        store.load('image')
    vectors.unlink()
    with pytest.raises(ValueError, match='damaged'):
        store.load('image')


def test_wrong_arguments(store: FeatureStore, files: list[Path]) -> None:
    with pytest.raises(ValueError, match="'name' must be made of letters"):
        store.images(CountingEncoder(), files, name='../elsewhere')
    with pytest.raises(ValueError, match="'batch_size' must be a positive integer"):
        store.images(CountingEncoder(), files, batch_size=0)
    with pytest.raises(ValueError, match="'paths' must be a sequence"):
        store.images(CountingEncoder(), 'a.jpg')
    with pytest.raises(ValueError, match="'texts' must be a sequence"):
        store.texts(CountingEncoder(), 'a lamp')
    with pytest.raises(FileNotFoundError, match='there are no features'):
        store.report()
    store.texts(CountingEncoder(), ['a'], name='both')
    with pytest.raises(ValueError, match="features of the kind 'text', not 'image'"):
        store.images(CountingEncoder(), files, name='both')


def test_progress_bars(
    store: FeatureStore, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    store.images(CountingEncoder(), files)
    assert capsys.readouterr().err == ''
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        store.images(CountingEncoder(scale=3), files, verbose=True)
    assert 'pictures' in capsys.readouterr().err


# --- other processes and kills --------------------------------------------------------------------


class Server:
    """Starts processes that encode; see killed_run.py."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'tests.encoders.store.killed_run'],
            cwd=ROOT,
            env=os.environ | {'PYTHONPATH': str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *command: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + '\n')
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, store: FeatureStore, files: list[Path], moment: str, count: int = 0) -> int:
        return self.ask('run', str(store.folder), str(files[0].parent), moment, count)

    def wait(self, process: int) -> int:
        return self.ask('wait', process)


@pytest.fixture(scope='module')
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.process.communicate(timeout=60)


def encoded(store: FeatureStore) -> Counter[str]:
    log = store.folder.parent / 'log.txt'
    return Counter(log.read_text().split()) if log.exists() else Counter()


# 'lost' is what is encoded twice: a batch of two with vectors that have no marks yet.
@pytest.mark.parametrize(
    ('moment', 'count', 'lost'),
    [
        ('encode', 1, 0),
        ('encode', 4, 0),
        ('flush', 3, 2),  # vectors of the second batch
        ('flush', 4, 0),  # and their marks, which the system has already
        ('fsync', 2, 0),  # an array is half made
        ('fsync', 3, 0),  # the manifest is written
        ('rename', 1, 0),  # and not yet in its place
        ('rename', 2, 0),  # the manifest of the end
    ],
)
def test_a_killed_run_goes_on(
    server: Server, store: FeatureStore, files: list[Path], moment: str, count: int, lost: int
) -> None:
    assert server.wait(server.start(store, files, moment, count)) == -signal.SIGKILL
    encoder = CountingEncoder(log=store.folder.parent / 'log.txt')
    x, has = store.images(encoder, files, batch_size=2)
    assert torch.equal(x, rows(*range(NUM_FILES)))
    assert has.all()
    counts = encoded(store)
    assert len(counts) == NUM_FILES
    assert sum(counts.values()) == NUM_FILES + lost
    left = {path.name.split('-')[0] for path in (store.folder / 'image').iterdir()}
    assert left == {'x', 'marks', 'manifest.json', '.lock'}
    assert len(list((store.folder / 'image').iterdir())) == 4


def test_a_kill_keeps_the_rows_of_before(
    server: Server, store: FeatureStore, files: list[Path]
) -> None:
    store.images(CountingEncoder(), files[:7])
    # All nine, killed before the new array counts.
    assert server.wait(server.start(store, files, 'rename', 1)) == -signal.SIGKILL
    encoder = CountingEncoder()
    x, _ = store.images(encoder, files)
    assert encoder.seen == ['7.jpg', '8.jpg']
    assert torch.equal(x, rows(*range(NUM_FILES)))


def test_a_kill_from_outside(server: Server, store: FeatureStore, files: list[Path]) -> None:
    process = server.start(store, files, 'slow')
    end = time.monotonic() + 60
    while sum(encoded(store).values()) < 6 and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    assert server.wait(process) == -signal.SIGKILL
    before = sum(encoded(store).values())
    encoder = CountingEncoder()
    x, _ = store.images(encoder, files, batch_size=2)
    assert torch.equal(x, rows(*range(NUM_FILES)))
    assert NUM_FILES - before <= len(encoder.seen) <= NUM_FILES - before + 2


def test_two_processes_share_the_work(
    server: Server, store: FeatureStore, files: list[Path]
) -> None:
    processes = [server.start(store, files, 'slow') for _ in range(2)]
    assert [server.wait(process) for process in processes] == [0, 0]
    assert encoded(store) == Counter(path.name for path in files)
    assert torch.equal(store.images(CountingEncoder(), files)[0], rows(*range(NUM_FILES)))


def test_who_waits_too_long_is_told(store: FeatureStore, files: list[Path]) -> None:
    with (
        store._locked(store.folder / 'image'),
        pytest.raises(TimeoutError, match=r'another process has been using .* for 0.2 seconds'),
    ):
        store.images(CountingEncoder(), files)
    assert store.images(CountingEncoder(), files)[1].all()


def test_loading_opens_files_for_reading_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    encoder = TitleEncoder().fit(['oak table', 'silk dress'])
    expected, _ = store.texts(encoder, ['oak table', None])
    load = np.load

    def refuse_to_write(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get('mmap_mode') == 'r+':
            raise PermissionError('read-only file system')
        return load(*args, **kwargs)

    monkeypatch.setattr(np, 'load', refuse_to_write)
    x, has = store.load('text')
    assert torch.equal(x, expected)
    assert has.tolist() == [True, False]
