import torch

from pyg_mmgef.nn.parts._standard_content import StandardContent, standardized
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.content import WARM, features_of, has_features
from tests.nn.models.shops import CHANNELS, NUM_ITEMS, small_shop

IS_WARM = torch.tensor([[item in WARM] for item in range(NUM_ITEMS)])
CHANNELS_OF = {'image': CHANNELS, 'text': CHANNELS}


def test_equals_the_formula() -> None:
    data = small_shop()
    x, has = StandardContent(CHANNELS_OF)(data, IS_WARM, torch.double)
    torch.testing.assert_close(x, features_of(data))
    assert has[:, 0].tolist() == [has_features(data, item) for item in range(NUM_ITEMS)]


def test_is_prepared_once_and_changes_are_noticed() -> None:
    data, content = small_shop(), StandardContent(CHANNELS_OF)
    first, _ = content(data, IS_WARM, torch.double)
    assert content(data, IS_WARM, torch.double)[0] is first
    assert content(data, IS_WARM, torch.float)[0].dtype == torch.float
    data[ITEM].x_text[0] *= -1.0
    torch.testing.assert_close(content(data, IS_WARM, torch.double)[0], features_of(data))
    content.clear()
    assert content(data, IS_WARM, torch.double)[0] is not first


def test_the_scale_of_a_modality_does_not_matter() -> None:
    data, content = small_shop(), StandardContent(CHANNELS_OF)
    before, _ = content(data, IS_WARM, torch.double)
    data[ITEM].x_text = 100 * data[ITEM].x_text
    torch.testing.assert_close(content(data, IS_WARM, torch.double)[0], before)


def test_rows_of_any_length_keep_their_direction() -> None:
    data, content = small_shop(), StandardContent(CHANNELS_OF)
    before, _ = content(data, IS_WARM, torch.double)
    data[ITEM].x_text = torch.logspace(-30, 30, NUM_ITEMS).double()[:, None] * data[ITEM].x_text
    torch.testing.assert_close(content(data, IS_WARM, torch.double)[0], before)


def test_rows_that_are_equal_become_zero() -> None:
    x = torch.full((7, 3), 0.1) / 3
    everyone, nobody = torch.ones(7, 1).bool(), torch.zeros(7, 1).bool()
    assert standardized(x, everyone, everyone).abs().max() < 1e-3
    for is_counted in (everyone, nobody):
        assert standardized(torch.zeros(7, 3), everyone, is_counted).eq(0).all()
    assert standardized(torch.randn(7, 3), nobody, nobody).eq(0).all()


def test_no_warm_items_leave_finite_rows() -> None:
    data = small_shop()
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :0]
    x, _ = StandardContent(CHANNELS_OF)(data, torch.zeros(NUM_ITEMS, 1).bool(), torch.double)
    assert x.isfinite().all()
