import torch

from pyg_mmgef.nn.parts import (
    ItemPart,
    UserParts,
    neighbor_parts,
    one_hot_parts,
    propagated_parts,
)
from pyg_mmgef.nn.parts.histories import histories
from pyg_mmgef.nn.parts.interaction_graph import normalized_interactions
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.sparse import layer_mean
from tests.nn.models.shops import NUM_ITEMS, NUM_USERS, small_shop


def test_terms_of_propagation_add_up() -> None:
    data = small_shop()
    generator = torch.Generator().manual_seed(0)
    x_user = torch.randn(NUM_USERS, 3, generator=generator, dtype=torch.double)
    x_item = torch.randn(NUM_ITEMS, 3, generator=generator, dtype=torch.double)
    size = NUM_USERS, NUM_ITEMS
    pair = normalized_interactions(data[INTERACTS].edge_index, size, torch.double)
    for num_layers in range(4):
        z_user, _ = layer_mean(pair, x_user, x_item, num_layers)
        for user in range(NUM_USERS):
            parts = propagated_parts(pair, x_user, x_item, num_layers, user)
            total = parts.history.sum(dim=0) + parts.rest['user']
            torch.testing.assert_close(total, z_user[user])


def test_a_unit_vector_for_each_item() -> None:
    parts = one_hot_parts(histories(small_shop()), 0, torch.double)
    assert parts.items.tolist() == [0, 1, 6]
    assert torch.equal(parts.history.to_dense(), torch.eye(NUM_ITEMS).double()[[0, 1, 6]])


def test_parts_of_a_user_after_a_map() -> None:
    parts = UserParts(torch.tensor([4]), torch.tensor([[1.0, 2.0]]), {'user': torch.ones(2)})
    mapped = parts.mapped(lambda rows: 2 * rows, constant=torch.zeros(2))
    assert mapped.history.tolist() == [[2.0, 4.0]]
    assert {kind: row.tolist() for kind, row in mapped.rest.items()} == {
        'user': [2.0, 2.0],
        'constant': [0.0, 0.0],
    }
    alone = UserParts.without_items(user=torch.ones(2))
    assert alone.items.numel() == 0
    assert alone.history.shape == (0, 2)


def test_what_neighbours_send() -> None:
    graph = (
        torch.tensor([[0, 1, 1, 2, 0], [2, 2, 0, 1, 2]]),
        torch.tensor([1.0, 2.0, 4.0, 8.0, 0.5]),
    )
    x = torch.tensor([[1.0], [10.0], [100.0]])
    (part,) = neighbor_parts({'similar': graph}, x, torch.tensor([0, 2]))
    found = zip(part.position.tolist(), part.source.tolist(), part.weight.tolist(), strict=True)
    assert sorted(found) == [(0, 1, 4.0), (1, 0, 1.5), (1, 1, 2.0)]  # Repeated edges add up.
    assert part.name == 'similar'
    assert part.scores(torch.tensor([3.0])).tolist() == [120.0, 4.5, 60.0]
    assert part.scaled(torch.tensor([1.0, 2.0])).scores(torch.ones(1)).tolist() == [40.0, 3.0, 40.0]


def test_rows_and_what_all_share() -> None:
    rows = ItemPart.of_rows('modality', torch.tensor([[1.0], [2.0]]), 'image')
    assert rows.scores(torch.tensor([5.0])).tolist() == [5.0, 10.0]
    shared = ItemPart.of_all('average', torch.tensor([3.0]), 2).mapped(lambda x: -x)
    assert shared.scores(torch.tensor([5.0])).tolist() == [-15.0, -15.0]
