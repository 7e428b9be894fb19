project = 'pyg_mmgef'
author = 'The pyg_mmgef team'
copyright = '2026, The pyg_mmgef team'

extensions = ['sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.mathjax']
html_theme = 'furo'
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
exclude_patterns = ['_build']
