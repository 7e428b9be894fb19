"""The settings of the documentation, and its table of models."""

from typing import ClassVar

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pyg_mmgef.nn import recommenders

project = 'pyg_mmgef'
author = 'The pyg_mmgef team'
copyright = '2026, The pyg_mmgef team'

extensions = [
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.mathjax',
    'sphinx_gallery.gen_gallery',
    'myst_parser',
]
html_theme = 'furo'
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
exclude_patterns = ['_build', 'tutorials']
# The tutorials are scripts that run while the pages are built.
sphinx_gallery_conf = {
    'examples_dirs': 'tutorials',
    'gallery_dirs': 'gallery',
    'filename_pattern': '/own_',
    'abort_on_example_error': True,
    'capture_repr': (),
}


class Recommenders(SphinxDirective):
    """The table of all models, the oldest first."""

    option_spec: ClassVar[dict] = {}

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = [
            '.. list-table::',
            '   :header-rows: 1',
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


def link_pages(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to the files of other pages, which GitHub follows, lead to the pages here too."""
    for node in list(doctree.findall(nodes.reference)):
        target, _, suffix = node.get('refuri', '').rpartition('.')
        if suffix in ('rst', 'md') and '://' not in target:
            page = {'refdomain': 'std', 'reftype': 'doc', 'refdoc': app.env.docname}
            text = nodes.inline('', '', *node.children)
            link = pending_xref('', text, reftarget=target, refexplicit=True, refwarn=True, **page)
            node.replace_self(link)


def setup(app: Sphinx) -> None:
    """Register the table, and what links pages."""
    app.add_directive('recommenders', Recommenders)
    app.connect('doctree-read', link_pages)
