"""Check the pyg_mmgef that this Python has installed: extensions, item graphs, the command.

python tools/check_installed.py --extensions in-use
"""

import argparse
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import torch

import pyg_mmgef
from pyg_mmgef._extension import loaded_extensions
from pyg_mmgef.graph import co_interaction_graph, knn_graph
from pyg_mmgef.sparse import CSRPair, layer_mean

PLACE = Path(pyg_mmgef.__file__).parent


def main() -> None:
    """Run all checks; the first that fails ends the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--extensions', choices=('in-use', 'absent'), default='in-use')
    expected = parser.parse_args().extensions == 'in-use'
    pyg_mmgef.show_versions()
    check(Path(sysconfig.get_path('purelib')) in PLACE.parents, f'it is installed (in {PLACE})')
    extensions = loaded_extensions()
    check(set(extensions.values()) == {expected}, f'extensions in use: {extensions}')
    check(not list(PLACE.rglob('*.cpp')), 'no C++ source is installed')
    check((PLACE / 'py.typed').is_file(), 'its types are installed')
    check_graphs()
    check_runtimes()
    check_command()


def check(holds: bool, what: str) -> None:
    """Print what was checked, or exit with it."""
    if not holds:
        sys.exit(f'FAILED: {what}')
    print(f'ok: {what}')


def check_graphs() -> None:
    """Compare small graphs and a propagation with what is right."""
    x = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))
    cosine = torch.nn.functional.normalize(x.double()) @ torch.nn.functional.normalize(x.double()).T
    cosine.fill_diagonal_(-2)
    nearest = cosine.topk(3).indices.sort(dim=1).values
    found = knn_graph(x, 3)[0][0].view(600, 3).sort(dim=1).values
    check(torch.equal(found, nearest), 'knn_graph finds the nearest')
    pairs = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 2]])
    edges = co_interaction_graph(pairs, 2, 3, 2)[0]
    check(
        set(zip(*edges.tolist(), strict=True)) == {(0, 1), (1, 0), (1, 2), (2, 1)},
        'co_interaction_graph finds who shares a user',
    )
    pair = CSRPair(torch.tensor([[0, 1], [0, 0]]), size=(2, 1))
    means = layer_mean(pair, torch.ones(2, 1), torch.ones(1, 1), 1)
    check(
        [mean.view(-1).tolist() for mean in means] == [[1, 1], [1.5]],
        'layer_mean propagates',
    )


def check_runtimes() -> None:
    """On Linux: the OpenMP runtime is the one of torch, and none came with the package."""
    maps = Path('/proc/self/maps')
    if not maps.exists():
        return
    runtimes = {line.split()[-1] for line in maps.read_text().splitlines() if 'libgomp' in line}
    of_torch = {path for path in runtimes if '/torch' in path}
    check(
        not of_torch or runtimes == of_torch,
        f'one OpenMP runtime, of torch: {sorted(runtimes)}',
    )


def check_command() -> None:
    """Without its packages the command says in one line what to install; else it runs."""
    for command in (
        [str(Path(sysconfig.get_path('scripts')) / 'pyg-mmgef'), '--version'],
        [sys.executable, '-m', 'pyg_mmgef', '--version'],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if find_spec('typer') is None:
            check(
                done.returncode == 1
                and done.stderr.count('\n') == 1
                and 'pip install "pyg-mmgef[cli]"' in done.stderr,
                f'the command says what to install: {done.stderr.strip()}',
            )
        else:
            check(
                done.stdout.strip() == f'pyg-mmgef {pyg_mmgef.__version__}',
                f'the command runs: {done.stdout.strip() or done.stderr.strip()}',
            )


if __name__ == '__main__':
    main()
