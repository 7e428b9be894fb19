import torch

from pyg_mmgef.nn.parts.interaction_graph import (
    _sample,
    normalized_interactions,
    sample_interactions,
)

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

    assert sample(0, 3).shape == (2, 40)
    assert torch.equal(sample(0, 3), sample(0, 3))
    assert not torch.equal(sample(0, 3), sample(0, 4))
    assert not torch.equal(sample(0, 3), sample(1, 3))
    none = INTERACTIONS[:, :0]
    assert sample_interactions(none, SIZE, 1, 0, 0).shape == (2, 0)


def test_weights_are_those_of_light_gcn() -> None:
    degree_user, degree_item = INTERACTIONS[0].bincount(), INTERACTIONS[1].bincount(minlength=4)
    expected = (degree_user[INTERACTIONS[0]] * degree_item[INTERACTIONS[1]]).double().rsqrt()
    pair = normalized_interactions(INTERACTIONS, SIZE, torch.double)
    edge_index, weight = pair.edges()
    assert torch.equal(edge_index, INTERACTIONS)
    torch.testing.assert_close(weight, expected)
    half = normalized_interactions(INTERACTIONS, SIZE, torch.bfloat16)
    assert half.edges()[1].dtype == torch.float32
