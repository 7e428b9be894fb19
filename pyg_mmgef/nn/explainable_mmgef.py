import copy

import torch
from torch import Tensor
from torch.nn import Module, ModuleList
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv
from torch_geometric.typing import EdgeType, NodeType

from pyg_mmgef.nn.conv.bipartite_lg_conv import BipartiteLGConv
from pyg_mmgef.nn.conv.item_graph_conv import ItemGraphConv
from pyg_mmgef.nn.models.mmgef import MMGEF
from pyg_mmgef.schema import INTERACTS, ITEM, USER

__all__ = ['ExplainableMMGEF']

REVERSE: EdgeType = (ITEM, 'rev_interacts', USER)


class ExplainableMMGEF(Module):
    r"""The scores of an :class:`~pyg_mmgef.nn.MMGEF`, as a module that PyG can explain.

    It computes the numbers of the model, but message by message, so that
    :class:`torch_geometric.explain.Explainer` can mask each edge: which interactions, and which
    similar items, a recommendation rests on. That is many times slower than the model, and takes
    a row of memory for each edge. It copies the model as it is now: parameters, learned graph and
    attention, and which items are warm, stay fixed. Of a cold item it explains what the model's own
    graphs say, :meth:`MMGEF.embed`.

    Args:
        model: The trained model.
        data: Its train graph.

    Example:
        >>> from torch_geometric.explain import Explainer, GNNExplainer
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['item'].x_text = torch.eye(3)
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1], [0, 2]])
        >>> data['item', 'similar', 'item'].edge_index = torch.tensor([[0, 1], [1, 2]])
        >>> data['item', 'similar', 'item'].edge_weight = torch.tensor([0.5, 0.5])
        >>> scores = ExplainableMMGEF(MMGEF.from_data(data, k=2), data)
        >>> explainer = Explainer(
        ...     scores,
        ...     GNNExplainer(epochs=10),
        ...     explanation_type='model',
        ...     edge_mask_type='object',
        ...     model_config={'mode': 'regression', 'task_level': 'edge', 'return_type': 'raw'},
        ... )
        >>> user_and_item = torch.tensor([[0], [1]])
        >>> explanation = explainer(
        ...     scores.graph.x_dict,
        ...     scores.graph.edge_index_dict,
        ...     edge_weight_dict=scores.graph.edge_weight_dict,
        ...     edge_label_index=user_and_item,
        ... )
        >>> explanation['user', 'interacts', 'item'].edge_mask.shape
        torch.Size([2])
    """

    is_warm: Tensor

    def __init__(self, model: MMGEF, data: HeteroData) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        is_warm = model.is_warm(data)
        features = model.fused(data)
        x_item = model.light_gcn.item_embedding.weight.detach()
        self.register_buffer('is_warm', is_warm, persistent=False)
        self.num_features = 0 if features is None else features.size(1)

        self.graph = HeteroData()
        self.graph[USER].x = model.light_gcn.user_embedding.weight.detach()
        self.graph[ITEM].x = x_item if features is None else torch.cat([x_item, features], dim=1)
        edge_index, edge_weight = model.light_gcn.interaction_graph(data).edges()
        for relation, ends in ((INTERACTS, edge_index), (REVERSE, edge_index.flip(0))):
            self.graph[relation].edge_index = ends
            self.graph[relation].edge_weight = edge_weight
        self._relations: list[EdgeType] = []
        if model.item_encoder.attention is not None:
            x = model._propagating_embedding(x_item, is_warm)
            weighted = model.item_encoder.weighted_graphs(data, x, features)
            self._relations = [(ITEM, name, ITEM) for name in model.item_graphs]
            for relation, (edge_index, edge_weight) in zip(self._relations, weighted, strict=True):
                self.graph[relation].edge_index = edge_index
                self.graph[relation].edge_weight = edge_weight

        self.interaction_convs = ModuleList(
            HeteroConv({INTERACTS: BipartiteLGConv(False), REVERSE: BipartiteLGConv(False)})
            for _ in range(model.light_gcn.num_layers)
        )
        self.item_convs = ModuleList(
            HeteroConv({relation: ItemGraphConv() for relation in self._relations})
            for _ in range(model.item_encoder.num_layers)
        )

    def forward(
        self,
        x_dict: dict[NodeType, Tensor],
        edge_index_dict: dict[EdgeType, Tensor],
        edge_weight_dict: dict[EdgeType, Tensor],
        edge_label_index: Tensor,
    ) -> Tensor:
        """Return the score of each pair of a user and an item.

        Args:
            x_dict: The node features of :attr:`graph`: of users, their id embeddings; of items,
                the id embeddings, and beside them the fused features.
            edge_index_dict: Its edges: interactions in both directions, and each item graph.
            edge_weight_dict: Their weights; those of the item graphs hold the attention.
            edge_label_index: Users and items. Shape: ``[2, P]``.

        Returns:
            Shape: ``[P]``.
        """
        x_user, x_item = x_dict[USER], x_dict[ITEM]
        features = x_item[:, x_item.size(1) - self.num_features :] if self.num_features else None
        x_item = x_item[:, : x_item.size(1) - self.num_features]

        x = None if self.model.item_input == 'features' else torch.where(self.is_warm, x_item, 0.0)
        h = self.model.item_encoder.input(x, features)
        layers = [h]
        for conv in self.item_convs:
            h = conv({ITEM: h}, edge_index_dict, edge_weight_dict)[ITEM]
            layers.append(h)
        h = torch.stack(layers).mean(dim=0) if self.model.item_encoder.readout == 'mean' else h

        z = [{USER: x_user, ITEM: x_item}]
        for conv in self.interaction_convs:
            z.append(conv(z[-1], edge_index_dict, edge_weight_dict))
        z_user = torch.stack([layer[USER] for layer in z]).mean(dim=0)
        z_item = torch.stack([layer[ITEM] for layer in z]).mean(dim=0)
        z_item = self.model.add(h, z_item, self.is_warm)

        users, items = edge_label_index
        return (z_user[users] * z_item[items]).sum(dim=1)
