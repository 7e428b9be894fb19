"""PyG's LightGCN, trained as its documentation and example do: the peer of several benchmarks."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn import LightGCN


class PyGLightGCN:
    """PyG's model with its graph, on `edge_index` or on torch-sparse's `SparseTensor`.

    PyG numbers users and items as one set of nodes: items follow the users.
    """

    def __init__(
        self, data: HeteroData, sparse: bool, *, num_layers: int = 2, lambda_reg: float = 1e-4
    ) -> None:
        self.num_users = data['user'].num_nodes
        self.num_nodes = self.num_users + data['item'].num_nodes
        edge_index = data['user', 'interacts', 'item'].edge_index
        self.edge_index = torch.stack([edge_index[0], edge_index[1] + self.num_users])
        self.graph: Any = torch.cat([self.edge_index, self.edge_index.flip(0)], dim=1)
        if sparse:
            from torch_sparse import SparseTensor

            size = self.num_nodes, self.num_nodes
            self.graph = SparseTensor.from_edge_index(self.graph, sparse_sizes=size).t()
        self.model = LightGCN(self.num_nodes, embedding_dim=64, num_layers=num_layers)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.lambda_reg = lambda_reg
        self.generator = torch.Generator().manual_seed(0)

    def step(self, positive: Tensor, negative: Tensor) -> None:
        """Take a step with edges (user node, item node), of shape ``[2, B]`` each."""
        self.optimizer.zero_grad()
        rank = self.model(self.graph, torch.cat([positive, negative], dim=1))
        loss = self.model.recommendation_loss(
            *rank.chunk(2),
            node_id=torch.cat([positive.flatten(), negative[1]]).unique(),
            lambda_reg=self.lambda_reg,
        )
        loss.backward()
        self.optimizer.step()

    def random_step(self, batch_size: int) -> None:
        """Take a step with random interactions and negatives."""
        size, generator = (batch_size,), self.generator
        index = torch.randint(self.edge_index.size(1), size, generator=generator)
        positive = self.edge_index[:, index]
        items = torch.randint(self.num_users, self.num_nodes, size, generator=generator)
        self.step(positive, torch.stack([positive[0], items]))

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the embeddings of users and of items."""
        z = self.model.get_embedding(self.graph).detach()
        return z[: self.num_users], z[self.num_users :]
