import pytest
import torch

from pyg_mmgef.nn.parts.modality_features import ModalityFeatures, feature_channels
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
    (text, has_text), (image, has_image) = ModalityFeatures(BOTH)(data, torch.float)
    assert text.dtype == image.dtype == torch.float
    assert torch.equal(text, data[ITEM].x_text.float())
    assert image[5].eq(0).all()
    others = torch.arange(NUM_ITEMS) != 5
    assert torch.equal(image[others], data[ITEM].x_image[others].float())
    assert has_text.view(-1).tolist() == [item != 6 for item in range(NUM_ITEMS)]
    assert has_image.view(-1).tolist() == [item not in (5, 6) for item in range(NUM_ITEMS)]


def test_prepared_once_until_something_changes() -> None:
    data, features = small_shop(), ModalityFeatures(BOTH)
    first, again = features(data, torch.double), features(data, torch.double)
    assert first[1][0] is again[1][0]
    data[ITEM].has_image[4] = False
    assert features(data, torch.double)[1][0][4].eq(0).all()
    data[ITEM].x_image = data[ITEM].x_image + 1
    changed = features(data, torch.double)[1][0]
    assert torch.equal(changed[0], data[ITEM].x_image[0])
    features.clear()
    assert features(data, torch.double)[1][0] is not changed


def test_features_are_copied_only_where_a_missing_row_has_content() -> None:
    data = small_shop()
    data[ITEM].x_image[5] = 0.0
    (image, has_image), (text, _) = ModalityFeatures({'image': 4, 'text': 4})(data, torch.double)
    assert image is data[ITEM].x_image
    assert text is data[ITEM].x_text
    assert not has_image[5]


def test_features_that_are_trained_are_never_stale() -> None:
    data = small_shop()
    data[ITEM].x_image = data[ITEM].x_image.clone().requires_grad_()
    features = ModalityFeatures({'image': 4})
    before = features(data, torch.double)[0][0].detach().clone()
    data[ITEM].x_image.square().sum().backward()
    torch.optim.SGD([data[ITEM].x_image], lr=0.1, fused=True).step()
    after = features(data, torch.double)[0][0]
    assert after.requires_grad
    assert not torch.equal(after, before)


def test_errors() -> None:
    with pytest.raises(ValueError, match="'in_channels' is empty"):
        ModalityFeatures({})
    with pytest.raises(ValueError, match=r"'in_channels\['image'\]' must be a positive integer"):
        ModalityFeatures({'image': 0})
    with pytest.raises(ValueError, match=r"lacks the item features \['audio'\] \(found \['image'"):
        ModalityFeatures({'audio': 4})(small_shop(), torch.double)
    with pytest.raises(ValueError, match=r"has 4 channels for 'image', but the model .* for 5"):
        ModalityFeatures({'image': 5})(small_shop(), torch.double)
