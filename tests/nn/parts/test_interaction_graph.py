import pytest
import torch

from pyg_mmgef.nn.parts.interaction_graph import (
    InteractionGraph,
    _sample,
    normalized_interactions,
    sample_interactions,
)
from tests.nn.models.shops import interacting

INTERACTIONS = torch.tensor([[0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 1, 2]])
SIZE = (3, 4)


def test_samples_of_more_edges_than_multinomial_takes() -> None:
    weight = torch.full((2**24 + 1,), 0.5)
    kept = _sample(weight, 5, torch.Generator().manual_seed(0))
    assert kept.numel() == 5
    assert bool((kept.diff() > 0).all())


def test_the_sample_is_that_of_multinomial() -> None:
    weight = torch.rand(1000, generator=torch.Generator().manual_seed(1))
    kept = _sample(weight, 200, torch.Generator().manual_seed(0))
    other = weight.multinomial(200, generator=torch.Generator().manual_seed(0))
    assert torch.equal(kept, other.sort().values)


def test_the_sample_depends_on_seed_and_epoch_alone() -> None:
    def sample(seed: int, epoch: int) -> torch.Tensor:
        many = INTERACTIONS.repeat(1, 50)
        return sample_interactions(many, SIZE, 40, seed, epoch)

    assert sample(0, 3).shape == (40,)
    assert bool((sample(0, 3).diff() > 0).all())
    assert torch.equal(sample(0, 3), sample(0, 3))
    assert not torch.equal(sample(0, 3), sample(0, 4))
    assert not torch.equal(sample(0, 3), sample(1, 3))
    none = INTERACTIONS[:, :0]
    assert sample_interactions(none, SIZE, 1, 0, 0).shape == (0,)


def test_weights_are_those_of_light_gcn() -> None:
    degree_user, degree_item = INTERACTIONS[0].bincount(), INTERACTIONS[1].bincount(minlength=4)
    expected = (degree_user[INTERACTIONS[0]] * degree_item[INTERACTIONS[1]]).double().rsqrt()
    pair = normalized_interactions(INTERACTIONS, SIZE, torch.double)
    edge_index, weight = pair.edges()
    assert torch.equal(edge_index, INTERACTIONS)
    torch.testing.assert_close(weight, expected)
    half = normalized_interactions(INTERACTIONS, SIZE, torch.bfloat16)
    assert half.edges()[1].dtype == torch.float32


def test_each_graph_is_built_once() -> None:
    data = interacting(INTERACTIONS, *SIZE)
    graph = InteractionGraph(*SIZE, edge_dropout=0.5, seed=3)
    whole, sample = (f(data, torch.double) for f in (graph.whole, graph.sample))
    assert graph.whole(data, torch.double) is whole
    assert graph.sample(data, torch.double) is sample
    kept = INTERACTIONS[:, sample_interactions(INTERACTIONS, SIZE, 3, seed=3, epoch=0)]
    assert torch.equal(sample.edges()[0], kept)
    weight = normalized_interactions(kept, SIZE, torch.double).edges()[1]
    assert torch.equal(sample.edges()[1], weight)


def test_an_epoch_samples_anew_and_clearing_goes_back() -> None:
    data = interacting(INTERACTIONS.repeat(1, 50), *SIZE)
    graph = InteractionGraph(*SIZE, edge_dropout=0.5)
    first = graph.sample(data, torch.double).edges()[0]
    graph.start_epoch(1)
    assert not torch.equal(graph.sample(data, torch.double).edges()[0], first)
    graph.clear()
    assert torch.equal(graph.sample(data, torch.double).edges()[0], first)


def test_without_dropout_the_sample_is_the_whole() -> None:
    data = interacting(INTERACTIONS, *SIZE)
    graph = InteractionGraph(*SIZE)
    assert graph.sample(data, torch.double) is graph.whole(data, torch.double)
    with pytest.raises(ValueError, match=r"'edge_dropout' must lie in \[0, 1\)"):
        InteractionGraph(*SIZE, edge_dropout=1.0)
