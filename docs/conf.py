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
