"""Download of pictures: in parallel, within limits, and continued where it stopped."""

import hashlib
import http.client
import io
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from pyg_mmgef import __version__
from pyg_mmgef.encoders._pictures import (
    UnreadablePictureError,
    decode_picture,
    pillow_is_quiet,
    require_pillow,
)
from pyg_mmgef.files import remove_leftovers, write_atomically
from pyg_mmgef.tables._picture_folder import IMAGE_SUFFIXES

__all__ = ['FAILURES', 'download_pictures', 'file_of_address']

FAILURES = 'not_downloaded.tsv'
"""The file beside the pictures that lists addresses and why they failed."""

_NUM_THREADS = 4
_TIMEOUT = 20  # seconds for a connection, and for a server's next word
_LONGEST = 120  # seconds for a whole picture, for servers that send drop by drop
_LARGEST = 20 * 2**20
_MOST_REDIRECTS = 5
_BLOCK = 2**16
_SAFE = "%/:=&?~#+!$,;'@()*[]"


class _DownloadError(Exception):
    """Raised if a picture can't be downloaded; the message is the reason."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MOST_REDIRECTS
    max_repeats = _MOST_REDIRECTS


def file_of_address(address: str) -> str:
    """Return the name of the file in which the picture of an address is kept."""
    suffix = PurePosixPath(re.split('[?#]', address)[0]).suffix.lower()
    digest = hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()[:24]
    return digest + (suffix if suffix in IMAGE_SUFFIXES else '')


def download_pictures(
    addresses: Sequence[str], folder: Path, *, verbose: bool = False
) -> dict[str, str]:
    """Download pictures into a folder, except those that it has already.

    Only ``http`` and ``https`` are followed. A file is written once it is whole and can be read as
    a picture; the file ``not_downloaded.tsv`` lists the other addresses.

    Args:
        addresses: The addresses, repeated ones count once.
        folder: The folder, which exists.
        verbose: Whether to show a progress bar. (default: :obj:`False`)

    Returns:
        The reason of each address that failed.

    Warns:
        UserWarning: If some failed, with their number by reason.
    """
    require_pillow()
    remove_leftovers(folder)
    missing = [
        address
        for address in dict.fromkeys(addresses)
        if not (folder / file_of_address(address)).is_file()
    ]
    failed: dict[str, str] = {}
    opener = _opener()
    pool = ThreadPoolExecutor(_NUM_THREADS)
    bar = tqdm(total=len(missing), desc='download', unit=' pictures', disable=not verbose)
    with pillow_is_quiet(), bar:
        try:
            waiting = {pool.submit(_download, opener, a, folder): a for a in missing}
            for future in as_completed(waiting):
                reason = future.result()
                if reason is not None:
                    failed[waiting[future]] = reason
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    _list_failures(failed, len(missing), folder)
    return failed


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for the web alone, without the handlers of files and of FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [('User-Agent', f'pyg_mmgef/{__version__}'), ('Accept', 'image/*')]
    return opener


def _download(opener: urllib.request.OpenerDirector, address: str, folder: Path) -> str | None:
    """Download one picture and return :obj:`None`, or the reason why it failed."""
    try:
        content = _fetch(opener, address)
        decode_picture(io.BytesIO(content))
    except (_DownloadError, UnreadablePictureError) as error:
        return str(error).split(':')[0]
    write_atomically(folder / file_of_address(address), content, sync=False)
    return None


def _fetch(opener: urllib.request.OpenerDirector, address: str) -> bytes:
    if not address.lower().startswith(('http://', 'https://')):
        raise _DownloadError('an address that is neither http nor https')
    try:
        with opener.open(urllib.parse.quote(address, safe=_SAFE), timeout=_TIMEOUT) as response:
            return _read(response)
    except urllib.error.HTTPError as error:
        error.close()
        if 300 <= error.code < 400:
            raise _DownloadError('a redirect without an end, or away from the web') from error
        raise _DownloadError(f'HTTP {error.code} {error.reason}'.strip()) from error
    except TimeoutError as error:
        raise _DownloadError(f'no answer within {_TIMEOUT} seconds') from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _DownloadError(f'no answer within {_TIMEOUT} seconds') from error
        raise _DownloadError('no connection') from error
    except (http.client.InvalidURL, ValueError) as error:
        raise _DownloadError('not a valid address') from error
    except (http.client.HTTPException, OSError) as error:
        raise _DownloadError('the connection broke off') from error


def _read(response: http.client.HTTPResponse) -> bytes:
    content = bytearray()
    end = time.monotonic() + _LONGEST
    expected = response.headers.get('Content-Length', '')
    if expected.isdecimal() and int(expected) > _LARGEST:
        raise _DownloadError(f'more than {_LARGEST // 2**20} MiB')
    while block := response.read1(_BLOCK):
        content += block
        if len(content) > _LARGEST:
            raise _DownloadError(f'more than {_LARGEST // 2**20} MiB')
        if time.monotonic() > end:
            raise _DownloadError(f'not whole within {_LONGEST} seconds')
    if expected.isdecimal() and len(content) < int(expected):
        raise _DownloadError('the connection broke off')
    return bytes(content)


def _list_failures(failed: dict[str, str], num_tried: int, folder: Path) -> None:
    path = folder / FAILURES
    if not failed:
        path.unlink(missing_ok=True)
        return
    lines = (f'{address}\t{reason}\n' for address, reason in sorted(failed.items()))
    write_atomically(path, ''.join(lines).encode('utf-8', 'replace'))
    reasons = ', '.join(f'{n} {reason}' for reason, n in Counter(failed.values()).most_common())
    warnings.warn(
        f'{len(failed)} of {num_tried} pictures could not be downloaded ({reasons}); '
        f'{str(path)!r} lists them, and the next call tries them again',
        UserWarning,
        stacklevel=6,
    )
