"""The settings of the documentation, and its directives."""

import re
from importlib import import_module
from inspect import isclass
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import pyg_mmgef
from pyg_mmgef.nn import recommenders

project = 'pyg_mmgef'
author = 'The pyg_mmgef team'
copyright = '2026, The pyg_mmgef team'
release = pyg_mmgef.__version__

extensions = [
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx.ext.intersphinx',
    'sphinx.ext.mathjax',
    'sphinx-mathjax-offline',
    'sphinx_gallery.gen_gallery',
    'sphinx_design',
    'sphinx_copybutton',
    'myst_parser',
]
exclude_patterns = ['_build', 'tutorials']

html_theme = 'furo'
pygments_dark_style = 'monokai'
html_title = f'{project} {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
copybutton_prompt_text = '$ '

autosummary_generate = False
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_custom_sections = ['Shapes']

# The inventories are files of this folder, so that a build needs no network.
intersphinx_mapping = {
    'python': ('https://docs.python.org/3', 'inventories/python.inv'),
    'numpy': ('https://numpy.org/doc/stable', 'inventories/numpy.inv'),
    'torch': ('https://docs.pytorch.org/docs/stable', 'inventories/torch.inv'),
    'pyg': ('https://pytorch-geometric.readthedocs.io/en/latest', 'inventories/pyg.inv'),
}

# The tutorials are scripts that run while the pages are built.
sphinx_gallery_conf = {
    'examples_dirs': 'tutorials',
    'gallery_dirs': 'gallery',
    'filename_pattern': '/tutorials/',
    'within_subsection_order': 'FileNameSortKey',
    'abort_on_example_error': True,
    'capture_repr': (),
    'image_srcset': ['2x'],
    'show_memory': False,
    'show_signature': False,
    'write_computation_times': False,
    'download_all_examples': False,
}


class Recommenders(SphinxDirective):
    """The table of all models, the oldest first."""

    option_spec: ClassVar[dict] = {}

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = [
            '.. list-table::',
            '   :header-rows: 1',
            '   :widths: 25 10 65',
            '',
            '   * - model',
            '     - year',
            '     - what it is',
        ]
        models = recommenders()
        for name in sorted(models, key=lambda name: (models[name].year or 0, name)):
            model = models[name]
            year = f'`{model.year} <{model.paper}>`__' if model.paper else str(model.year or '')
            first_line = (model.__doc__ or '').splitlines()[0]
            rows += [
                f'   * - :class:`~pyg_mmgef.nn.{name}`',
                f'     - {year}',
                f'     - {first_line}',
            ]
        return self.parse_text_to_nodes('\n'.join(rows))


class Members(SphinxDirective):
    """What a package exports: a table, then every member with its docstring.

    With the option ``of`` only those that other packages export, too, such as the models; with
    ``except`` only those that another package doesn't export.
    """

    required_arguments = 1
    option_spec: ClassVar[dict] = {'of': directives.unchanged, 'except': directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the table and the members."""
        (package,) = self.arguments
        wanted = _exported(self.options.get('of', package))
        unwanted = _exported(self.options.get('except', ''))
        names = [name for name in _exported(package) if name in wanted and name not in unwanted]
        lines = [f'.. currentmodule:: {package}', '', '.. autosummary::', '   :nosignatures:', '']
        lines += [f'   {name}' for name in names]
        for name in names:
            lines += ['', *_documented(package, name)]
        # viewcode links back from a module to all of its names as members of one package.
        others = self.options.get('except', '').split()
        anchors = [f'{other}.{name}' for other in others for name in names]
        found = self.parse_text_to_nodes('\n'.join(lines))
        return [nodes.container('', *found, ids=anchors)] if anchors else found


def _exported(packages: str) -> list[str]:
    return [name for package in packages.split() for name in import_module(package).__all__]


def _documented(package: str, name: str) -> list[str]:
    """Return the lines that document a member of a package."""
    member = getattr(import_module(package), name)
    if isclass(member):
        return [f'.. autoclass:: {package}.{name}', '   :members:']
    kind = 'function' if callable(member) else 'data'
    return [f'.. auto{kind}:: {package}.{name}']


def keep_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list) -> None:
    """Mark what napoleon would split at a colon, as in "Shape: [N]", by an empty type."""
    first = [0] if what in ('attribute', 'data', 'property') and lines else []
    first += [row + 1 for row, line in enumerate(lines[:-1]) if line.strip() == 'Returns:']
    for row in first:
        lines[row] = re.sub(r'^\s*', r'\g<0>: ', lines[row])


def link_pages(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to the files of other pages, which GitHub follows, lead to the pages here too."""
    for node in list(doctree.findall(nodes.reference)):
        uri = node.get('refuri', '')
        if uri.startswith('mailto:'):  # Recall@20 is no address.
            node.replace_self(nodes.Text(node.astext()))
        target, _, suffix = uri.rpartition('.')
        if suffix in ('rst', 'md') and '://' not in target:
            page = {'refdomain': 'std', 'reftype': 'doc', 'refdoc': app.env.docname}
            text = nodes.inline('', '', *node.children)
            link = pending_xref('', text, reftarget=target, refexplicit=True, refwarn=True, **page)
            node.replace_self(link)


def setup(app: Sphinx) -> None:
    """Register the directives, and what mends docstrings and links."""
    app.add_directive('recommenders', Recommenders)
    app.add_directive('members', Members)
    app.connect('autodoc-process-docstring', keep_colons, priority=400)  # Napoleon's is 500.
    app.connect('doctree-read', link_pages)
