import torch

__all__ = ['checked_device']


def checked_device(name: str) -> torch.device:
    """Return the device with the given name, such as ``'cpu'``, ``'cuda'`` or ``'cuda:1'``.

    Raises:
        ValueError: If the name is unknown, or the device isn't available.
    """
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # A meta device has no values.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'--device {name!r} cannot be used here: {reason}') from error
    return device
