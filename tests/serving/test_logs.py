import json
import logging
import sys

from pyg_mmgef.serving._logs import JsonFormatter


def record(message: str, **extra: object) -> logging.LogRecord:
    one = logging.makeLogRecord({'name': 'a', 'levelno': 20, 'levelname': 'INFO', 'msg': message})
    one.__dict__.update(extra)
    return one


def test_a_line_is_json() -> None:
    line = JsonFormatter().format(record('a "b"\n', data={'status': 200}))
    assert '\n' not in line
    found = json.loads(line)
    assert (found['event'], found['level'], found['status']) == ('a "b"\n', 'info', 200)


def test_an_exception_is_logged_without_what_it_says() -> None:
    try:
        raise ValueError('the secret of anna')
    except ValueError:
        line = JsonFormatter().format(record('failed', exc_info=sys.exc_info()))
    assert 'anna' not in line
    assert json.loads(line)['error'] == 'ValueError'
    assert json.loads(line)['at'][0].startswith(__file__)
