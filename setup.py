"""The compiled extensions; everything else about the package is in pyproject.toml."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NAMES = ('search._tiles', 'graph._paths', 'sparse._products')
THREADED = ('sparse._products',)
HEADER = 'pyg_mmgef/_extension.h'
FLAGS = {'msvc': ['/O2', '/std:c++17']}
OPENMP = {'msvc': ['/openmp']}


def extension(name: str) -> Extension:
    """Return an extension; without a compiler, torch does what it does, several times slower."""
    return Extension(
        f'pyg_mmgef.{name}',
        [f'pyg_mmgef/{name.replace(".", "/")}.cpp'],
        depends=[HEADER],
        py_limited_api=True,
        optional=True,
    )


class BuildWithOrWithoutOpenMP(build_ext):
    """Build with the compiler's own flags, and with OpenMP where it has that.

    The threads are those of torch, whose OpenMP runtime is already there when the extension is
    imported. Apple's compiler has none; one thread then does the work.
    """

    def build_extension(self, ext: Extension) -> None:
        """Build an extension, the second time without OpenMP."""
        kind = self.compiler.compiler_type
        flags = FLAGS.get(kind, ['-O3', '-std=c++17'])
        openmp = OPENMP.get(kind, ['-fopenmp']) if ext.name.endswith(THREADED) else []
        ext.extra_compile_args = [*flags, *openmp]
        ext.extra_link_args = [] if kind == 'msvc' else openmp
        try:
            super().build_extension(ext)
        except Exception:
            if not openmp:
                raise
            ext.extra_compile_args, ext.extra_link_args = flags, []
            super().build_extension(ext)


setup(
    ext_modules=[extension(name) for name in NAMES],
    cmdclass={'build_ext': BuildWithOrWithoutOpenMP},
)
