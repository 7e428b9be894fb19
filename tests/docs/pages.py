"""The code and the figures in the pages of the documentation."""

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).parents[2] / 'docs'
UNIT = r'(?= ?(?:%|ms\b|s\b|seconds|minutes|GB\b|MB\b|times\b|x\b))'
FIGURE = re.compile(rf'(?<![\w.])(?:\.\d\d+|0\.\d{{3,}})|\d[\d.,]*{UNIT}')
"""What was measured: a metric, a share, a time, a size, a ratio; its number."""


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in a language, in order."""
    text = (DOCS / page).read_text(encoding='utf-8')
    pattern = rf'^( *)\.\. code-block:: {language}\n((?:\n|\1 +.*\n)+)'
    found = re.findall(pattern, text + '\n', re.MULTILINE)
    return [textwrap.dedent(body).strip() + '\n' for _, body in found]
