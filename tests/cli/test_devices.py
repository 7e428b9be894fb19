import pytest
import torch

from pyg_mmgef.cli.devices import checked_device


def test_what_there_is() -> None:
    assert checked_device('cpu') == torch.device('cpu')


@pytest.mark.parametrize('name', ['abacus', 'cuda:99', '', 'meta'])
def test_what_there_is_not(name: str) -> None:
    with pytest.raises(ValueError, match=f'--device {name!r} cannot be used here: .'):
        checked_device(name)
