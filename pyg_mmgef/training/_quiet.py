"""Silence for what Lightning prints for its own developers, and for itself."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['quiet_lightning']

LOGGERS = [f'lightning.{name}.utilities.rank_zero' for name in ('pytorch', 'fabric')]


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes, tips and deprecations within the block, but not its warnings.

    It names the devices, advertises other products, and its use of torch is deprecated in places.
    """
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:  # Those above them get their levels when Lightning is imported.
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            for module in (r'lightning\.', r'torch\.'):
                warnings.filterwarnings('ignore', module=module)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
