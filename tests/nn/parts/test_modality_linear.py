import pytest
import torch
from torch.nn import Linear

from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.schema import ITEM
from tests.nn.models.shops import small_shop


@pytest.mark.parametrize('bias', [True, False])
def test_projects_what_there_is(bias: bool) -> None:
    data = small_shop()
    data[ITEM].x_image[5] = 100.0  # It has no image.
    lin = ModalityLinear({'image': 4, 'text': 4}, 3, bias).double()
    items = torch.tensor([5, 0, 6, 0])
    out = lin(data, items)
    assert out[0][1].view(-1).tolist() == [False, True, False, True]
    assert out[1][1].view(-1).tolist() == [True, True, False, True]
    for (rows, _), name, layer in zip(out, ('image', 'text'), lin.lins, strict=True):
        assert isinstance(layer, Linear)
        for row, item in zip(rows, items.tolist(), strict=True):
            expected = torch.zeros(3).double() if layer.bias is None else layer.bias
            if item == 0 or (item == 5 and name == 'text'):
                expected = layer.weight @ data[ITEM][f'x_{name}'][item] + expected
            torch.testing.assert_close(row, expected)
    torch.testing.assert_close(lin(data)[1][0][items], out[1][0])


@pytest.mark.parametrize('name', ['type', 'items', 'float', 'img.v2', 'lins', ''])
def test_modalities_of_any_name(name: str) -> None:
    data = small_shop()
    data[ITEM][f'x_{name}'] = data[ITEM].x_text
    lin = ModalityLinear({name: 4}, 3).double()
    assert lin(data)[0][0].shape == (9, 3)
    ModalityLinear({name: 4}, 3).load_state_dict(lin.state_dict())


def test_features_of_another_type() -> None:
    data = small_shop()
    data[ITEM].x_image = data[ITEM].x_image.half()
    assert ModalityLinear({'image': 4}, 3).double()(data)[0][0].dtype == torch.double


def test_what_does_not_fit_is_refused() -> None:
    data = small_shop()
    with pytest.raises(ValueError, match="'in_channels' is empty"):
        ModalityLinear({}, 3)
    with pytest.raises(ValueError, match=r'audio.* must be a positive'):
        ModalityLinear({'audio': 0}, 3)
    with pytest.raises(ValueError, match=r"lacks the item features \['audio'\]"):
        ModalityLinear({'audio': 2}, 3)(data)
    with pytest.raises(ValueError, match="4 channels for 'image', but the model was built for 5"):
        ModalityLinear({'image': 5}, 3)(data)
