"""All models by name, for whatever offers a choice of models."""

from pyg_mmgef.nn import models
from pyg_mmgef.nn.models import Recommender

__all__ = ['recommenders']


def recommenders() -> dict[str, type[Recommender]]:
    """Return every model that :mod:`pyg_mmgef.nn.models` exports, by the name of its class.

    The command line, the documentation's table, the benchmarks and the tests take their models from
    here, so a new model is one file and its name in that package.

    Returns:
        The classes, in the order of their names. Each is built by ``from_data(data, **options)``.

    Example:
        >>> recommenders()['LightGCN'].__name__
        'LightGCN'
    """
    classes = {name: getattr(models, name) for name in sorted(models.__all__)}
    return {name: model for name, model in classes.items() if model is not Recommender}
