import pytest
import torch

from pyg_mmgef.nn.parts.modality_features import ItemFeatures, feature_channels
from pyg_mmgef.schema import ITEM
from tests.nn.models.shops import NUM_ITEMS, interacting, small_shop

BOTH = {'text': 4, 'image': 4}


def test_channels() -> None:
    data = small_shop()
    data[ITEM].x_text = data[ITEM].x_text[:, :3]
    assert feature_channels(data, 'Some') == {'image': 4, 'text': 3}
    with pytest.raises(ValueError, match='has no item features, which Some needs; set'):
        feature_channels(interacting(torch.tensor([[0], [0]]), 1, 1), 'Some')


def test_what_is_missing_is_zero() -> None:
    data = small_shop()
    (text, has_text), (image, has_image) = ItemFeatures(BOTH).get(data, torch.float)
    assert text.dtype == image.dtype == torch.float
    assert torch.equal(text, data[ITEM].x_text.float())
    assert image[5].eq(0).all()
    others = torch.arange(NUM_ITEMS) != 5
    assert torch.equal(image[others], data[ITEM].x_image[others].float())
    assert has_text.view(-1).tolist() == [item != 6 for item in range(NUM_ITEMS)]
    assert has_image.view(-1).tolist() == [item not in (5, 6) for item in range(NUM_ITEMS)]


def test_prepared_once_until_something_changes() -> None:
    data, features = small_shop(), ItemFeatures(BOTH)
    first, again = features.get(data, torch.double), features.get(data, torch.double)
    assert first[1][0] is again[1][0]
    data[ITEM].has_image[4] = False
    assert features.get(data, torch.double)[1][0][4].eq(0).all()
    data[ITEM].x_image = data[ITEM].x_image + 1
    changed = features.get(data, torch.double)[1][0]
    assert torch.equal(changed[0], data[ITEM].x_image[0])
    features.clear()
    assert features.get(data, torch.double)[1][0] is not changed


def test_errors() -> None:
    with pytest.raises(ValueError, match="'in_channels' is empty"):
        ItemFeatures({})
    with pytest.raises(ValueError, match=r"'in_channels\['image'\]' must be a positive integer"):
        ItemFeatures({'image': 0})
    with pytest.raises(ValueError, match=r"lacks the item features \['audio'\] \(found \['image'"):
        ItemFeatures({'audio': 4}).get(small_shop(), torch.double)
    with pytest.raises(ValueError, match=r"has 4 channels for 'image', but the model .* for 5"):
        ItemFeatures({'image': 5}).get(small_shop(), torch.double)
