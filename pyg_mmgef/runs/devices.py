import torch

from pyg_mmgef._spelling import spelt_with

__all__ = ['checked_device']


def checked_device(name: str) -> torch.device:
    """Return the device with the given name, such as ``'cpu'``, ``'cuda'`` or ``'cuda:1'``.

    ``'auto'`` is an accelerator that can be used here, or else the CPU.

    Raises:
        ValueError: If the name is unknown, or the device isn't available or holds no numbers.
    """
    try:
        device = _best() if name == 'auto' else torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f'{spelt_with("device", name)} is unknown; give one of {_available()}'
        ) from error
    try:
        torch.zeros(1, device=device).item()  # The meta device has no numbers.
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split('. ')[0]
        raise ValueError(
            f'{spelt_with("device", name)} cannot be used here ({reason}); give one of '
            f'{_available()}'
        ) from error
    return torch.device('cpu') if device.type == 'cpu' else device  # Without an index.


def _best() -> torch.device:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return torch.device('cpu') if accelerator is None else accelerator


def _available() -> str:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return 'cpu'
    numbers = range(torch.accelerator.device_count())
    return ', '.join(['cpu', *(f'{accelerator.type}:{number}' for number in numbers)])
