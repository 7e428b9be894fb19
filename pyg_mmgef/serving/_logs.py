"""Log lines as JSON, without what says who has asked for what."""

import json
import logging
import time
import traceback
from typing import Any

__all__ = ['JsonFormatter', 'log_config']


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; the attribute ``data`` of a record adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            'time': f'{time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))}'
            f'.{int(record.msecs):03d}Z',
            'level': record.levelname.lower(),
            'process': record.process,
            'event': record.getMessage(),
            **getattr(record, 'data', {}),
        }
        if record.exc_info and record.exc_info[0]:
            # The message of an exception may hold what a client has sent, its place doesn't.
            line['error'] = record.exc_info[0].__name__
            line['at'] = [
                f'{frame.filename}:{frame.lineno}'
                for frame in traceback.extract_tb(record.exc_info[2])[-5:]
            ]
        return json.dumps(line)


def log_config(level: str) -> dict[str, Any]:
    """Return the configuration of :mod:`logging` for a server.

    Args:
        level: The lowest level that is written, such as ``'info'``.
    """
    logger = {'handlers': ['stderr'], 'level': level.upper(), 'propagate': False}
    return {
        'version': 1,
        'disable_existing_loggers': False,
        'formatters': {'json': {'()': 'pyg_mmgef.serving._logs.JsonFormatter'}},
        'handlers': {
            'stderr': {
                'class': 'logging.StreamHandler',
                'formatter': 'json',
                'stream': 'ext://sys.stderr',
            }
        },
        'loggers': {'uvicorn': logger, 'pyg_mmgef.serving': logger},
    }
