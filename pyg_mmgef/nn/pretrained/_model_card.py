"""The README of a saved model: what it is, its numbers, and how to load it."""

import html
import re
from collections.abc import Mapping
from typing import Any

__all__ = ['model_card']

CARD = """\
---
library_name: pyg_mmgef
pipeline_tag: other
tags:
- recommender-system
- graph-machine-learning
---

# {model}

A recommender of the Python package `pyg_mmgef` {version}. It has embeddings of {num_users:,} users
and {num_items:,} items, which stand in the order of the rows of the data that it was trained on.
The embedding of a user is learned from what this person has chosen.{paper}

## Load it

```python
from pyg_mmgef.nn import Recommender

model = Recommender.from_pretrained('path or owner/name of this folder')
z_user, z_item = model(data)  # The train graph: the score of an item is z_user @ z_item.
```

The folder has no data: the graph of the interactions, and the features and item graphs that the
model reads, come from you.

## Arguments

| argument | value |
| --- | --- |
{arguments}
"""
METRICS = """
## Metrics

| metric | value |
| --- | --- |
{metrics}
"""


def model_card(
    model: str,
    version: str,
    paper: str,
    arguments: Mapping[str, Any],
    metrics: Mapping[str, float] | None,
) -> str:
    """Return the card as Markdown; names and values from the data are shown as they are.

    Args:
        model: The name of the class.
        version: The version of the package.
        paper: A link, or an empty string.
        arguments: The arguments of the constructor.
        metrics: Metrics by name, or :obj:`None`.
    """
    card = CARD.format(
        model=_plain(model),
        version=version,
        num_users=arguments['num_users'],
        num_items=arguments['num_items'],
        paper=f'\nThe model is from <{paper}>.' if paper else '',
        arguments=_rows(arguments),
    )
    return card + (METRICS.format(metrics=_rows(metrics)) if metrics else '')


def _rows(values: Mapping[str, Any]) -> str:
    return '\n'.join(f'| {_plain(name)} | {_plain(value)} |' for name, value in values.items())


def _plain(value: Any) -> str:
    """Return a value as text that neither Markdown nor HTML reads as anything else."""
    text = f'{value:.6g}' if isinstance(value, float) else str(value)
    text = html.escape(' '.join(text.split()), quote=False)
    return re.sub(r'([\\`*_{}\[\]()#+!|~:])', r'\\\1', text)
