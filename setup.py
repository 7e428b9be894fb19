"""The compiled extensions and the long description; all else is in pyproject.toml."""

import re
from pathlib import Path
from textwrap import shorten

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The public address of the repository, without a slash at its end. While it is empty, the metadata
# has no links, and those of README.md stay relative.
ADDRESS = ''

NAMES = ('search._tiles', 'graph._paths', 'sparse._products', 'loader._neighbors')
THREADED = ('sparse._products', 'loader._neighbors')
HEADER = 'pyg_mmgef/_extension.h'
FLAGS = {'msvc': ['/O2', '/std:c++17']}
OPENMP = {'msvc': ['/openmp']}

# Code, which stays as it is, or the path of a relative link in Markdown or HTML.
CODE_OR_LINK = re.compile(
    r'(?P<code>^```.*?^```|`[^`\n]+`)'
    r'|(?P<before>\]\(|\b(?:href|src|srcset)=")(?![a-z]+:|[#/])(?P<path>[^)\s"]+)',
    re.MULTILINE | re.DOTALL,
)
PICTURE = re.compile(r'\.(?:gif|jpe?g|png|svg|webp)$')


def absolute_links(text: str, address: str) -> str:
    """Return a Markdown text whose relative links and pictures lie at an address.

    Args:
        text: The text.
        address: The address of the repository; if it is empty, the text is returned as it is.
    """

    def absolute(found: re.Match[str]) -> str:
        if found['code']:
            return found['code']
        kind = 'raw' if PICTURE.search(found['path']) else 'blob'
        return f'{found["before"]}{address}/{kind}/HEAD/{found["path"]}'

    return CODE_OR_LINK.sub(absolute, text) if address else text


def project_urls(address: str) -> dict[str, str]:
    """Return the links of the metadata, none without an address."""
    if not address:
        return {}
    return {
        'Source': address,
        'Issues': f'{address}/issues',
        'Changelog': f'{address}/blob/HEAD/CHANGELOG.md',
    }


def extension(name: str) -> Extension:
    """Return an extension; without a compiler, torch does what it does, several times slower."""
    return Extension(
        f'pyg_mmgef.{name}',
        [f'pyg_mmgef/{name.replace(".", "/")}.cpp'],
        depends=[HEADER],
        py_limited_api=True,
        optional=True,
    )


class BuildWithWhatThereIs(build_ext):
    """Build with the compiler's own flags, and with OpenMP where it has that.

    No OpenMP runtime is linked, since torch has loaded its own when an extension is imported, under
    a name that depends on its release. Apple's compiler has no OpenMP; one thread then does the
    work. Without a compiler there is no extension, and one line says so.
    """

    command_name = 'build_ext'

    def build_extensions(self) -> None:
        """Build the extensions, and say which of them failed."""
        self.failed: dict[str, Exception] = {}
        super().build_extensions()
        if self.failed:
            why = shorten(str(next(iter(self.failed.values()))), 120, placeholder=' ...')
            self.warn(
                f'{", ".join(self.failed)} not compiled, torch does their work several times '
                f'slower: {why}'
            )

    def build_extension(self, ext: Extension) -> None:
        """Build an extension, the second time without OpenMP."""
        kind = self.compiler.compiler_type
        openmp = OPENMP.get(kind, ['-fopenmp'])
        for threads in [openmp, []] if ext.name.endswith(THREADED) else [[]]:
            ext.extra_compile_args = [*FLAGS.get(kind, ['-O3', '-std=c++17']), *threads]
            try:
                super().build_extension(ext)
            except Exception as error:
                self.failed[ext.name] = error
            else:
                self.failed.pop(ext.name, None)
                return


if __name__ == '__main__':
    setup(
        ext_modules=[extension(name) for name in NAMES],
        cmdclass={'build_ext': BuildWithWhatThereIs},
        long_description=absolute_links(Path('README.md').read_text(encoding='utf-8'), ADDRESS),
        long_description_content_type='text/markdown',
        project_urls=project_urls(ADDRESS),
    )
