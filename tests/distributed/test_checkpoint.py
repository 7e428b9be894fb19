"""Checkpoints: exact, atomic, and read by other numbers of processes."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_mmgef.distributed import latest_checkpoint, load_checkpoint, save_checkpoint
from tests.distributed.shop import build, gathered, here, losses_of, make_shop
from tests.distributed.together import run_together

pytestmark = pytest.mark.distributed


def train(
    folder: Path | None, epochs: int, name: str = 'LightGCN', options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Go on from the checkpoint, if there is one, and save after each epoch."""
    data = make_shop()
    sharded, loader = build(name, data, **options or {}), here(data)
    progress = None if folder is None else load_checkpoint(folder, sharded, loader=loader)
    curve = [] if progress is None else progress['curve']
    while len(curve) < epochs:
        curve += losses_of(sharded, loader, 1)
        if folder is not None:
            save_checkpoint(folder, sharded, loader=loader, progress={'curve': curve})
    dense = {k: p.detach().clone() for k, p in sharded.model.named_parameters() if p.numel()}
    return {'curve': curve, 'resumed': progress is not None, **dict(gathered(sharded)), **dense}


def tensors(run: dict[str, Any]) -> dict[str, Tensor]:
    return {key: x for key, x in run.items() if isinstance(x, Tensor)}


@pytest.mark.parametrize(
    ('name', 'optimizer'),
    [('LightGCN', 'rowwise_adagrad'), ('MMGEF', 'adagrad'), ('MF', 'sgd')],
)
def test_resumed_is_undisturbed(tmp_path: Path, name: str, optimizer: str) -> None:
    options = {'optimizer': optimizer}
    undisturbed = run_together(train, 2, None, 4, name, options)[0]
    assert not run_together(train, 2, tmp_path, 2, name, options)[0]['resumed']
    resumed = run_together(train, 2, tmp_path, 4, name, options)[0]
    assert resumed['resumed']
    assert resumed['curve'] == undisturbed['curve']
    for key, x in tensors(undisturbed).items():
        assert torch.equal(resumed[key], x)


def test_another_number_of_processes_goes_on(tmp_path: Path) -> None:
    undisturbed = run_together(train, 1, None, 3)[0]
    for epochs, num_processes in enumerate((2, 4, 1), start=1):
        run = run_together(train, num_processes, tmp_path, epochs)[0]
        assert run['resumed'] == (epochs > 1)
    assert run['curve'] == pytest.approx(undisturbed['curve'], rel=1e-5)
    for key, x in tensors(undisturbed).items():
        torch.testing.assert_close(run[key], x, rtol=1e-3, atol=1e-5)


def train_with_falling_rates(folder: Path | None, epochs: int) -> list[float]:
    """Go on from the checkpoint, and halve all learning rates after each epoch."""
    data = make_shop()
    sharded, loader = build('MMGEF', data), here(data)
    progress = None if folder is None else load_checkpoint(folder, sharded, loader=loader)
    curve = [] if progress is None else progress['curve']
    while len(curve) < epochs:
        curve += losses_of(sharded, loader, 1)
        for group in sharded.optimizer.param_groups:
            group['lr'] *= 0.5
        if folder is not None:
            save_checkpoint(folder, sharded, loader=loader, progress={'curve': curve})
    return curve


def test_learning_rates_go_on(tmp_path: Path) -> None:
    undisturbed = run_together(train_with_falling_rates, 1, None, 3)[0]
    run_together(train_with_falling_rates, 1, tmp_path, 1)
    assert run_together(train_with_falling_rates, 1, tmp_path, 3)[0] == undisturbed


@pytest.fixture(scope='module')
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('checkpoints')
    run_together(train, 2, folder, 4)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / 'copy'))


def test_the_last_two_are_kept(saved: Path) -> None:
    assert sorted(x.name for x in saved.iterdir()) == ['checkpoint-00000003', 'checkpoint-00000004']
    assert latest_checkpoint(saved) == saved / 'checkpoint-00000004'
    contents = json.loads((saved / 'checkpoint-00000004' / 'checkpoint.json').read_text())
    assert contents['num_processes'] == 2
    assert contents['model']['arguments']['embedding_dim'] == 16
    assert contents['tables'] == {
        'user_embedding.weight': [101, 16],
        'item_embedding.weight': [53, 16],
    }


def test_nothing_is_pickled_but_what_is_read_without_code(saved: Path) -> None:
    suffixes = {x.name: x.suffix for x in (saved / 'checkpoint-00000004').iterdir()}
    assert {'.json', '.pt', '.safetensors'} == set(suffixes.values())
    torch.load(saved / 'checkpoint-00000004' / 'dense.pt', weights_only=True)


def message(function: Any, *args: Any) -> str:
    try:
        function(*args)
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return 'nothing'


def resume(folder: Path, name: str = 'LightGCN') -> str:
    return message(train, folder, 5, name)


def test_an_unfinished_one_is_ignored(folder: Path) -> None:
    shutil.copytree(folder / 'checkpoint-00000004', folder / '.unfinished')
    (folder / '.unfinished' / 'checkpoint.json').unlink()
    assert run_together(resume, 2, folder) == ['nothing', 'nothing']
    assert latest_checkpoint(folder) == folder / 'checkpoint-00000005'
    assert not (folder / '.unfinished').exists()


def test_a_missing_or_shortened_file_is_named(folder: Path) -> None:
    path = next((folder / 'checkpoint-00000004').glob('*.safetensors'))
    content = path.read_bytes()
    for damage, expected in ((content[:-1], 'bytes, and was written with'), (None, 'is missing')):
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        for text in run_together(resume, 2, folder):
            assert text.startswith('ValueError')
            assert expected in text
            assert path.name in text
            assert 'delete this checkpoint, and the one before it is loaded' in text
    shutil.rmtree(folder / 'checkpoint-00000004')
    assert run_together(resume, 2, folder) == ['nothing', 'nothing']


def test_another_model_is_refused(folder: Path) -> None:
    for text in run_together(resume, 2, folder, 'MF'):
        assert 'is a checkpoint with model LightGCN, and the one given has MF' in text


def test_other_files_in_the_folder_stay(folder: Path) -> None:
    shutil.copytree(folder / 'checkpoint-00000003', folder / 'checkpoint-00000003.best')
    (folder / 'checkpoint-notes.txt').write_text('mine')
    assert latest_checkpoint(folder) == folder / 'checkpoint-00000004'
    assert run_together(resume, 2, folder) == ['nothing', 'nothing']
    assert sorted(x.name for x in folder.iterdir()) == [
        'checkpoint-00000003.best',
        'checkpoint-00000004',
        'checkpoint-00000005',
        'checkpoint-notes.txt',
    ]


def save_a_tensor(folder: Path) -> str:
    sharded = build('MF', make_shop())
    return message(lambda: save_checkpoint(folder, sharded, progress={'loss': torch.ones(())}))


def test_progress_is_json(tmp_path: Path) -> None:
    (text,) = run_together(save_a_tensor, 1, tmp_path)
    assert text.startswith("ValueError: 'progress' must hold values of JSON alone")
    assert 'Tensor' in text
    assert not any(tmp_path.iterdir())


def save_with_one_process_on_a_full_disk(folder: Path) -> str:
    """Save where the files of the second process lie on a disk that is full."""
    import torch.distributed as dist

    from pyg_mmgef.distributed import checkpoint

    data = make_shop()
    sharded = build('LightGCN', data)
    load_checkpoint(folder, sharded)

    def make_empty(folder: Path) -> None:
        real(folder)
        for number in range(1, 5):
            (folder / f'shard-00002-model-{number:05d}-of-00004.safetensors').symlink_to(
                '/dev/full'
            )

    real = checkpoint._make_empty
    if dist.get_rank() == 0:
        checkpoint._make_empty = make_empty
    with pytest.raises(OSError, match='process 1 cannot use the checkpoint') as caught:
        save_checkpoint(folder, sharded)
    assert caught.value.errno == errno.ENOSPC
    return str(caught.value)


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no device that is always full')
def test_a_full_disk_leaves_the_one_before(folder: Path) -> None:
    for text in run_together(save_with_one_process_on_a_full_disk, 2, folder):
        assert 'process 1 cannot' in text
        assert 'No space left on device' in text
        assert 'free some space' in text
    assert latest_checkpoint(folder) == folder / 'checkpoint-00000004'
    assert run_together(resume, 2, folder) == ['nothing', 'nothing']
