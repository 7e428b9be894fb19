import pytest
import torch

from pyg_mmgef.runs.devices import checked_device


@pytest.mark.parametrize('name', ['cpu', 'cpu:0', 'cpu:7'])
def test_what_there_is(name: str) -> None:
    assert checked_device(name) == torch.device('cpu')


@pytest.mark.parametrize('name', ['abacus', 'gpu', ''])
def test_what_does_not_exist(name: str) -> None:
    with pytest.raises(ValueError, match=f'device={name!r} is unknown; give one of cpu'):
        checked_device(name)


@pytest.mark.parametrize('name', ['cuda:99', 'meta', 'hpu'])
def test_what_is_not_here(name: str) -> None:
    with pytest.raises(ValueError, match=rf'device={name!r} cannot be used here \(.+\)') as error:
        checked_device(name)
    assert '\n' not in str(error.value)
    assert len(str(error.value)) < 200


def test_auto_is_an_accelerator_if_there_is_one() -> None:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    assert checked_device('auto').type == ('cpu' if accelerator is None else accelerator.type)
