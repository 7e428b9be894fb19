import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import IterDataPipe
from torch_geometric.data import HeteroData

from pyg_mmgef.schema import recorded_fusion
from pyg_mmgef.transforms import FuseModalities, SplitColdItems, SplitInteractions
from tests.references import early_fusion_mean
from tests.transforms.shops import assert_unchanged, random_shop, snapshot


def test_mean_respects_the_masks() -> None:
    data = random_shop()
    data['item'].x_image[~data['item'].has_image] = 7  # What is masked must not show.
    data['item'].x_text[:3] = 0  # Without a mask, a row of zeros is a missing one.
    data['item'].has_image[0] = False
    out = FuseModalities()(data)['item'].x
    has_text = torch.ones(30, dtype=torch.bool)
    expected = early_fusion_mean(
        [data['item'].x_image, data['item'].x_text], [data['item'].has_image, has_text]
    )
    assert torch.allclose(out, expected, atol=1e-6)
    assert torch.equal(out[0], torch.zeros(6))
    changed = random_shop()
    changed['item'].x_text[:3] = 0
    changed['item'].has_image[0] = False
    changed['item'].x_image[~changed['item'].has_image] = -1
    assert torch.equal(FuseModalities()(changed)['item'].x, out)


def test_concat() -> None:
    data = random_shop()
    data['item'].x_text = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    out = FuseModalities('concat')(data)['item'].x
    assert out.shape == (30, 10)
    image, text = data['item'].x_image, data['item'].x_text
    image = image / image.norm(dim=1, keepdim=True) * data['item'].has_image[:, None]
    expected = torch.cat([image, text / text.norm(dim=1, keepdim=True)], dim=1)
    assert torch.allclose(out, expected, atol=1e-6)


def test_some_modalities() -> None:
    data = random_shop()
    text = data['item'].x_text
    out = FuseModalities(modalities=('text',))(data)['item'].x
    assert torch.allclose(out, text / text.norm(dim=1, keepdim=True), atol=1e-6)


def test_a_single_matrix_counts_as_a_modality() -> None:
    data = HeteroData()
    data['item'].x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    out = FuseModalities()(data)
    assert torch.allclose(out['item'].x, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert data['item'].x[0].tolist() == [3, 4]


def test_returns_a_new_object() -> None:
    data = random_shop()
    before = snapshot(data)
    out = FuseModalities()(data)
    assert out is not data
    assert 'x' in out['item']
    assert_unchanged(data, before)


def test_records_what_it_did(tmp_path: Path) -> None:
    out = FuseModalities('concat', ['text', 'image'])(random_shop())
    assert out['item'].fusion == {'mode': 'concat', 'modalities': ['text', 'image']}
    torch.save(out.to_dict(), tmp_path / 'shop.pt')
    loaded = HeteroData.from_dict(torch.load(tmp_path / 'shop.pt', weights_only=True))
    copies = [out, loaded, out.clone(), copy.copy(out), out.to('cpu'), *SplitInteractions()(out)]
    subgraph = out.subgraph({'item': torch.arange(5)})
    for data in (*copies, *SplitColdItems(0.3)(out), subgraph):
        assert recorded_fusion(data) == ('concat', ['text', 'image'])
    assert subgraph['item'].num_nodes == 5


def test_records_all_modalities_by_name() -> None:
    assert recorded_fusion(FuseModalities()(random_shop())) == ('mean', ['image', 'text'])
    single = HeteroData({'item': {'x': torch.ones(3, 2)}})
    assert recorded_fusion(FuseModalities()(single)) == ('mean', ['x'])
    repeated = FuseModalities('concat', ('text', 'text'))(random_shop())
    assert repeated['item'].x.size(1) == 6
    assert recorded_fusion(repeated) == ('concat', ['text'])


@pytest.mark.parametrize('modalities', [(), [], 'text'])
def test_modalities_are_names(modalities: Any) -> None:
    with pytest.raises(ValueError, match=r"'modalities' must be names such as"):
        FuseModalities(modalities=modalities)


def test_functional_name_and_repr() -> None:
    assert hasattr(IterDataPipe, 'functions')
    assert 'fuse_modalities' in IterDataPipe.functions
    assert repr(FuseModalities()) == 'FuseModalities()'
    assert repr(FuseModalities('concat')) == "FuseModalities(fusion='concat')"


def test_mistakes() -> None:
    data = random_shop()
    with pytest.raises(ValueError, match=r"'fusion' must be one of 'mean', 'concat' \(got 'sum'\)"):
        FuseModalities('sum')
    with pytest.raises(ValueError, match=r"lacks item features for \['audio'\] .*'image', 'text'"):
        FuseModalities(modalities=('text', 'audio'))(data)
    with pytest.raises(ValueError, match='lacks item features for every modality'):
        FuseModalities()(HeteroData({'item': {'num_nodes': 3}}))
    data['item'].x_text = torch.ones(30, 5)
    with pytest.raises(ValueError, match=r'(?s)image.*6.*text.*5'):
        FuseModalities()(data)
    data['item'].x_text[4] = math.nan
    with pytest.raises(ValueError, match=r"'x_text' holds NaN or infinite .*first: row 4"):
        FuseModalities()(data)
