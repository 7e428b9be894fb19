"""How fast does OpenCLIPEncoder encode, beside a plain loop over open_clip?

Both encode the same files with the same model (random weights: the speed is that of the trained
one) at the same batch size. They take turns within one process, so a busy machine slows them alike;
the median of the rounds is shown, with the least and the largest. The files are the posters of
MovieLens 100K if PYG_MMGEF_DATA names a folder with them, else pictures drawn here. The text towers
encode made-up titles, and long descriptions once cut off and once averaged.

On a CPU the model needs all cores, so reading ahead gains nothing. A last table therefore has a
stand-in for a model on an accelerator: it sleeps as long as it takes to read a batch in one thread.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, write_json
from PIL import Image

from pyg_mmgef.encoders import FeatureStore, OpenCLIPEncoder

BATCH_SIZE = 8
SIZES = ((500, 333), (750, 500), (1000, 1000))


def posters(count: int) -> list[Path]:
    root = os.environ.get('PYG_MMGEF_DATA')
    folder = None if root is None else Path(root) / 'ml100k_multimodal' / 'posters'
    return [] if folder is None else sorted(folder.glob('*.jpg'))[:count]


def drawn(folder: Path, count: int) -> list[Path]:
    """Return smooth pictures with some noise, as large as those of shops."""
    rng = np.random.default_rng(0)
    paths = [folder / f'{n}.jpg' for n in range(count)]
    for n, path in enumerate(paths):
        height, width = SIZES[n % len(SIZES)]
        small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        pixels = np.asarray(small.resize((width, height)), dtype=np.int16)
        noisy = pixels + rng.integers(-12, 12, pixels.shape, dtype=np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def titles(count: int, num_words: int) -> list[str]:
    words = ['red', 'lamp', 'wooden', 'table', 'for', 'the', 'garden', 'soft', 'cushion', 'set']
    rng = np.random.default_rng(0)
    return [' '.join(rng.choice(words, num_words)) for _ in range(count)]


@torch.inference_mode()
def plain_images(encoder: OpenCLIPEncoder, paths: list[Path]) -> torch.Tensor:
    """Open, preprocess, stack, encode: what one writes without the library."""
    out = []
    for start in range(0, len(paths), BATCH_SIZE):
        batch = [encoder.preprocess(Image.open(path)) for path in paths[start : start + BATCH_SIZE]]
        out.append(encoder.model.encode_image(torch.stack(batch)))
    return torch.cat(out)


@torch.inference_mode()
def plain_texts(encoder: OpenCLIPEncoder, texts: list[str]) -> torch.Tensor:
    out = []
    for start in range(0, len(texts), BATCH_SIZE):
        tokens = encoder.tokenizer(texts[start : start + BATCH_SIZE])
        out.append(encoder.model.encode_text(tokens))
    return torch.cat(out)


class Elsewhere(torch.nn.Module):
    """A model that takes its time and leaves the processor alone, as one on an accelerator does."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds  # A picture.
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode_image(self, pixels: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Wait, and return the mean colours."""
        time.sleep(self.seconds * len(pixels))
        return pixels.mean(dim=(2, 3))

    def encode_text(self, tokens: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Return as many channels."""
        return torch.zeros(len(tokens), 3)


def in_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def report(what: str, count: int, seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    print(f'\n{count} {what}')
    print(f'{"":36}{"each second":>12}{"slowest":>10}{"fastest":>10}')
    out = []
    for name, times in seconds.items():
        rates = [count / t for t in (statistics.median(times), max(times), min(times))]
        print(f'{name:36}{rates[0]:12.1f}{rates[1]:10.1f}{rates[2]:10.1f}')
        out.append({'what': what, 'contestant': name, 'count': count, 'seconds': times})
    return out


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument('--model', default='ViT-B-32')
    arguments.add_argument('--count', type=int, default=32, help='number of pictures and of texts')
    arguments.add_argument('--autocast', action='store_true', help='bfloat16 as well')
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    num_images, num_texts, rounds = (16, 16, 1) if args.quick else (args.count, args.count, 3)
    encoders = {
        n: OpenCLIPEncoder(args.model, None, batch_size=BATCH_SIZE, num_workers=n)
        for n in (0, 1, 2)
    }
    encoder = encoders[0]
    for other in encoders.values():
        other.model = encoder.model
    half = OpenCLIPEncoder.from_model(
        encoder.model,
        encoder.preprocess,
        encoder.tokenizer,
        encoder.name,
        batch_size=BATCH_SIZE,
        autocast=torch.bfloat16,
    )
    averaging = OpenCLIPEncoder.from_model(
        encoder.model,
        encoder.preprocess,
        encoder.tokenizer,
        encoder.name,
        batch_size=BATCH_SIZE,
        long_text='average',
    )
    results = []
    with tempfile.TemporaryDirectory() as folder:
        found = posters(num_images)
        paths = found or drawn(Path(folder), num_images)
        difference = (plain_images(encoder, paths[:BATCH_SIZE])) - encoder.encode_images(
            paths[:BATCH_SIZE]
        )[0]
        print(f'{args.model}, largest difference to the plain loop {difference.abs().max():.1e}')
        stores = iter(range(1000))

        def stored() -> None:
            FeatureStore(Path(folder) / f'store{next(stores)}').images(encoder, paths)

        contestants: dict[str, Callable[[], object]] = {
            'plain open_clip loop': lambda: plain_images(encoder, paths),
            **{
                f'OpenCLIPEncoder, {n} threads reading': partial(e.encode_images, paths)
                for n, e in encoders.items()
            },
            'through a FeatureStore, 0 threads': stored,
        }
        if args.autocast:
            contestants['OpenCLIPEncoder, bfloat16'] = lambda: half.encode_images(paths)
        results += report('pictures', len(paths), in_turns(contestants, rounds))
        start = time.perf_counter()
        for path in paths:
            encoder.preprocess(Image.open(path))
        alone = time.perf_counter() - start
        print(f'Reading and preprocessing alone: {len(paths) / alone:.1f} pictures/s in one thread')
        results.append({'what': 'reading alone', 'count': len(paths), 'seconds': [alone]})
        elsewhere = {
            n: OpenCLIPEncoder.from_model(
                Elsewhere(alone / len(paths)),
                encoder.preprocess,
                encoder.tokenizer,
                'elsewhere',
                batch_size=BATCH_SIZE,
                num_workers=n,
            )
            for n in (0, 1, 2)
        }
        contestants = {
            'plain open_clip loop': lambda: plain_images(elsewhere[0], paths),
            **{
                f'OpenCLIPEncoder, {n} threads reading': partial(e.encode_images, paths)
                for n, e in elsewhere.items()
            },
        }
        seconds = in_turns(contestants, rounds)
        results += report('pictures, the model elsewhere', len(paths), seconds)
    plain_texts(encoder, ['a lamp'])
    short, long = titles(num_texts, 8), titles(num_texts // 4, 200)
    contestants = {
        'plain open_clip loop': lambda: plain_texts(encoder, short),
        'OpenCLIPEncoder': lambda: encoder.encode_texts(short),
    }
    if args.autocast:
        contestants['OpenCLIPEncoder, bfloat16'] = lambda: half.encode_texts(short)
    results += report('texts', len(short), in_turns(contestants, rounds))
    results += report(
        'texts of 200 words',
        len(long),
        in_turns(
            {
                'truncated': lambda: encoder.encode_texts(long),
                'averaged': lambda: averaging.encode_texts(long),
            },
            rounds,
        ),
    )
    kept = {
        'model': args.model,
        'pictures': 'posters of MovieLens 100K' if found else 'drawn',
        'batch_size': BATCH_SIZE,
        'difference': difference.abs().max().item(),
        'runs': results,
    }
    write_json(args.output / 'encode.json', kept)


if __name__ == '__main__':
    main()
