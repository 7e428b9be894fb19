import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.parts import Content, ContentFeatures, ContentMap

STRENGTHS = (0.01, 0.3, 2.0, 50.0)


def planted(num_items: int, channels: int, noise: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num_items, channels, generator=generator, dtype=torch.double)
    weight = torch.randn(channels, 3, generator=generator, dtype=torch.double)
    error = torch.randn(num_items, 3, generator=generator, dtype=torch.double)
    return x, x @ weight + noise * error + 5


def ridge(x: Tensor, z: Tensor, strength: float, new: Tensor) -> Tensor:
    """The closed form, with means that aren't shrunk."""
    a, b = x - x.mean(dim=0), z - z.mean(dim=0)
    weight = torch.linalg.solve(a.t() @ a + strength * torch.eye(x.size(1)).double(), a.t() @ b)
    return z.mean(dim=0) + (new - x.mean(dim=0)) @ weight


@pytest.mark.parametrize(('num_items', 'channels'), [(30, 4), (12, 40)])
@pytest.mark.parametrize('noise', [0.01, 3.0])
def test_is_ridge_regression_of_the_strength_that_predicts_items_left_out(
    num_items: int, channels: int, noise: float
) -> None:
    x, z = planted(num_items, channels, noise)
    content_map = ContentMap(STRENGTHS).fit(x, z)
    errors = []
    for strength in STRENGTHS:
        error = torch.zeros(()).double()
        for item in range(num_items):
            rest = [other for other in range(num_items) if other != item]
            error += (ridge(x[rest], z[rest], strength, x[item]) - z[item]).square().sum()
        errors.append(float(error / (z - z.mean(dim=0)).square().sum()))
    assert content_map.errors == pytest.approx(errors, rel=1e-6)
    assert content_map.strength == STRENGTHS[errors.index(min(errors))]
    new = planted(50, channels, 0.0)[0]
    torch.testing.assert_close(content_map(new), ridge(x, z, content_map.strength, new))


def test_more_noise_asks_for_a_stronger_penalty() -> None:
    strengths = [ContentMap().fit(*planted(40, 8, noise)).strength for noise in (0.01, 30.0)]
    assert strengths[0] < strengths[1]


def test_a_single_item_and_equal_items() -> None:
    x, z = planted(1, 4, 1.0)
    torch.testing.assert_close(ContentMap().fit(x, z)(x.repeat(2, 1)), z.repeat(2, 1))
    x = torch.ones(5, 3)
    out = ContentMap().fit(x, torch.arange(5.0)[:, None])(x)
    torch.testing.assert_close(out, torch.full((5, 1), 2.0))


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="'strengths' is empty"):
        ContentMap([])
    with pytest.raises(ValueError, match="'strengths' must be positive"):
        ContentMap([1.0, 0.0])
    with pytest.raises(ValueError, match=r'a row for each warm item \(got 3 and 2\)'):
        ContentMap().fit(torch.ones(3, 1), torch.ones(2, 1))
    with pytest.raises(ValueError, match=r'\(got 0 and 0\)'):
        ContentMap().fit(torch.ones(0, 1), torch.ones(0, 1))


def test_content_is_centred_and_zero_where_missing() -> None:
    image = torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0], [1.0, 0.0]])
    text = torch.tensor([[2.0], [0.0], [-3.0], [1.0]])
    has = {'image': torch.tensor([True, True, True, False])}
    is_warm = torch.tensor([True, True, False, True])
    content = Content({'image': image, 'text': text}, has, is_warm)
    torch.testing.assert_close(content.mean['image'], torch.tensor([0.3, 0.9]))
    torch.testing.assert_close(content.mean['text'], torch.tensor([1.0]))
    expected = torch.tensor(
        [[0.3, -0.1, 0.0], [-0.3, 0.1, 0.0], [0.7, -0.9, -2.0], [0.0, 0.0, 0.0]]
    )
    torch.testing.assert_close(content.warm, expected[is_warm])
    torch.testing.assert_close(content.cold, expected[~is_warm])
    tiny = Content({'image': 1e-24 * image, 'text': 1e-30 * text}, has, is_warm)
    torch.testing.assert_close(tiny.warm, content.warm)
    new = {'image': torch.tensor([[0.0, 7.0]]), 'text': torch.zeros(1, 1)}
    torch.testing.assert_close(content.of(new), torch.tensor([[-0.3, 0.1, 0.0]]))


def test_content_is_read_once_for_the_same_data() -> None:
    data = HeteroData()
    data['item'].num_nodes = 3
    is_warm = torch.ones(3, 1, dtype=torch.bool)
    features = ContentFeatures()
    assert features(data, is_warm) is None
    data['item'].x_text = torch.eye(3)
    first = features(data, is_warm)
    assert features(data, is_warm) is first
    data['item'].x_text[0, 1] = 2.0
    assert features(data, is_warm) is not first
    features.clear()
    assert features(data, is_warm) is not first


def test_weight_and_bias() -> None:
    x, z = torch.randn(20, 3).double(), torch.randn(20, 2).double()
    fitted = ContentMap().fit(x, z)
    torch.testing.assert_close(x @ fitted.weight + fitted.bias, fitted(x))


def test_some_of_many_items_choose_the_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    x, z = planted(4000, 6, 3.0)
    whole = ContentMap(STRENGTHS).fit(x, z)
    monkeypatch.setattr('pyg_mmgef.nn.parts.content_map.LEFT_OUT', 1000)
    some = ContentMap(STRENGTHS).fit(x, z)
    assert some.errors != whole.errors
    assert some.errors == pytest.approx(whole.errors, rel=0.05)
    weight = ContentMap([some.strength]).fit(x, z).weight
    torch.testing.assert_close(some.weight, weight, msg='all items teach the map')
