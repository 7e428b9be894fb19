import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import EASE, ItemKNN, Popularity, Recommender
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.schema import INTERACTS, supervision_edges

__all__ = ['baseline_embeddings', 'baselines']

MOST_ITEMS = 10_000  # With more items, EASE takes longer than most models.


def baselines(
    train: HeteroData, val: HeteroData, test: HeteroData, k: tuple[int, ...]
) -> dict[str, dict[str, float]]:
    """Evaluate models without parameters on the test part, for comparison with a run.

    The models, with default options, are ``Popularity``, ``ItemKNN`` and, up to 10,000 items,
    ``EASE``.

    Args:
        train: The train graph.
        val: The validation part.
        test: The test part.
        k: The cut-offs.

    Returns:
        The metrics by model and name.
    """
    classes: list[type[Recommender]] = [Popularity, ItemKNN]
    if train['item'].num_nodes <= MOST_ITEMS:
        classes.append(EASE)
    seen = torch.cat([train[INTERACTS].edge_index, supervision_edges(val)], dim=1)
    out = {}
    for model_class in classes:
        z = baseline_embeddings(model_class, train)
        out[model_class.__name__] = evaluate_ranking(*z, supervision_edges(test), exclude=seen, k=k)
    return out


def baseline_embeddings(model_class: type[Recommender], train: HeteroData) -> tuple[Tensor, Tensor]:
    """Return the embeddings of users and items by a model without parameters.

    The model has default options, and knows interactions alone.

    Args:
        model_class: The class of the model.
        train: The train graph.
    """
    model = model_class.from_data(train).eval()
    model.content_map = None
    with torch.inference_mode():
        return model(train)
