import copy
import pickle

import pytest
import torch
from torch import Tensor

from pyg_mmgef.nn import EarlyFusion
from pyg_mmgef.nn.fusion import concat_fusion, mean_fusion
from tests.references import early_fusion_mean, early_fusion_softmax

MODES = ['mean', 'weighted', 'gated', 'concat']
CHANNELS = {'image': 4, 'text': 4, 'audio': 4}


def modalities(dtype: torch.dtype = torch.double) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Six items: 1 lacks its image by mask, 2 its text by a zero row, 4 has none; audio is full."""
    generator = torch.Generator().manual_seed(0)
    x = {name: torch.randn(6, 4, generator=generator, dtype=dtype) for name in CHANNELS}
    x['text'][2] = 0.0
    has = {name: torch.ones(6, dtype=torch.bool) for name in ('image', 'text')}
    has['image'][1] = False
    for name, row in x.items():
        if name in has:
            has[name][4] = False
        else:
            row[4] = 0.0
    return x, has


def masks(x: dict[str, Tensor], has: dict[str, Tensor]) -> list[Tensor]:
    return [has.get(name, torch.ones(row.size(0), dtype=torch.bool)) for name, row in x.items()]


def random_fusion(mode: str, dtype: torch.dtype = torch.double) -> EarlyFusion:
    """A layer with random weights, as after training."""
    fusion = EarlyFusion(CHANNELS, mode).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for parameter in fusion.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return fusion


def logits(fusion: EarlyFusion, x: dict[str, Tensor]) -> Tensor:
    """The logits of every item and modality, written out."""
    if fusion.logit is not None:
        return fusion.logit.expand(6, 3)
    assert fusion.gate is not None
    columns = []
    for gate, row in zip(fusion.gate, x.values(), strict=True):
        weight, bias = gate.parameters()
        columns.append(row / row.norm(dim=1, keepdim=True).clamp(min=1e-12) @ weight[0] + bias)
    return torch.stack(columns, dim=1)


def test_values_by_hand() -> None:
    x = {
        'image': torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]),
        'text': torch.tensor([[0.0, 9.0], [5.0, 0.0], [0.0, 0.0]]),
    }
    has = {'text': torch.tensor([True, False, True])}
    mean = torch.tensor([[0.3, 0.9], [0.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(mean_fusion(x, has), mean)
    torch.testing.assert_close(
        concat_fusion(x, has),
        torch.tensor([[0.6, 0.8, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]),
    )


def test_mean_equals_the_reference() -> None:
    x, has = modalities()
    expected = early_fusion_mean(list(x.values()), masks(x, has))
    torch.testing.assert_close(mean_fusion(x, has), expected)
    torch.testing.assert_close(EarlyFusion(CHANNELS)(x, has), expected)
    assert not torch.allclose(mean_fusion(x), expected)  # The masks were read.


@pytest.mark.parametrize('mode', ['weighted', 'gated'])
def test_learned_modes_equal_the_reference(mode: str) -> None:
    x, has = modalities()
    fusion = random_fusion(mode)
    expected = early_fusion_softmax(list(x.values()), masks(x, has), logits(fusion, x))
    torch.testing.assert_close(fusion(x, has), expected)
    parameters = list(fusion.parameters())
    grads = torch.autograd.grad(fusion(x, has).pow(3).sum(), parameters)
    exact = torch.autograd.grad(expected.pow(3).sum(), parameters, allow_unused=True)
    for grad, other in zip(grads, exact, strict=True):
        torch.testing.assert_close(grad, other)
        assert bool(grad.abs().sum() > 0)


def test_concat_is_side_by_side() -> None:
    x, has = modalities()
    widths = {'image': 4, 'text': 3, 'audio': 2}
    x = {name: row[:, : widths[name]] for name, row in x.items()}
    fusion = EarlyFusion(widths, mode='concat')
    assert fusion.out_channels == 9
    out = fusion(x, has)
    torch.testing.assert_close(out, concat_fusion(x, has))
    for part, name, mask in zip(out.split([4, 3, 2], dim=1), x, masks(x, has), strict=True):
        single = early_fusion_mean([x[name]], [mask])
        torch.testing.assert_close(part, single)


@pytest.mark.parametrize('mode', ['weighted', 'gated'])
def test_learned_modes_start_as_the_mean(mode: str) -> None:
    x, has = modalities(torch.float)
    fusion = EarlyFusion(CHANNELS, mode)
    torch.testing.assert_close(fusion(x, has), mean_fusion(x, has))
    fusion = random_fusion(mode, torch.float)
    assert not torch.allclose(fusion(x, has), mean_fusion(x, has))
    fusion.reset_parameters()
    torch.testing.assert_close(fusion(x, has), mean_fusion(x, has))


@pytest.mark.parametrize('mode', ['mean', 'weighted', 'gated'])
def test_weights_sum_to_one_over_what_is_present(mode: str) -> None:
    x, has = modalities()
    weight = random_fusion(mode).weights(x, has)
    present = torch.stack(masks(x, has), dim=1)
    present[2, 1] = present[4, 2] = False  # The zero rows.
    assert weight.shape == (6, 3)
    assert torch.equal(weight > 0, present)
    expected = torch.tensor([1, 1, 1, 1, 0, 1], dtype=torch.double)
    torch.testing.assert_close(weight.sum(dim=1), expected)


def test_only_gates_differ_between_items() -> None:
    x, _ = modalities()
    complete = [0, 3, 5]
    for mode, equal in (('mean', True), ('weighted', True), ('gated', False)):
        weight = random_fusion(mode).weights(x)[complete]
        assert torch.allclose(weight, weight[:1].expand_as(weight)) is equal


@pytest.mark.parametrize('mode', MODES)
def test_item_without_modality_is_zero_with_finite_gradients(mode: str) -> None:
    x, has = modalities()
    leaves = {name: row.requires_grad_() for name, row in x.items()}
    fusion = random_fusion(mode)
    out = fusion(leaves, has)
    assert torch.equal(out[4], torch.zeros(fusion.out_channels, dtype=torch.double))
    assert bool((out[[0, 1, 2, 3, 5]].norm(dim=1) > 0).all())
    out.square().sum().backward()
    out_of_reach = {'image': [1, 4], 'text': [2, 4], 'audio': [4]}
    for name, row in leaves.items():
        assert row.grad is not None
        assert bool(torch.isfinite(row.grad).all())
        assert not row.grad[out_of_reach[name]].any()
    for parameter in fusion.parameters():
        assert parameter.grad is not None
        assert bool(torch.isfinite(parameter.grad).all())


@pytest.mark.parametrize('mode', MODES)
def test_scale_of_the_features_does_not_matter(mode: str) -> None:
    x, has = modalities()
    fusion = random_fusion(mode)
    scaled = {name: row * torch.rand(6, 1).add(0.5) for name, row in x.items()}
    torch.testing.assert_close(fusion(scaled, has), fusion(x, has))


@pytest.mark.parametrize('mode', MODES)
def test_rows_of_any_length_keep_their_direction(mode: str) -> None:
    x, has = modalities(torch.float)
    fusion = random_fusion(mode, torch.float)
    scaled = {name: row * torch.logspace(-30, 30, 6)[:, None] for name, row in x.items()}
    torch.testing.assert_close(fusion(scaled, has), fusion(x, has))


@pytest.mark.parametrize('mode', MODES)
def test_what_is_missing_is_not_read(mode: str) -> None:
    x, has = modalities()
    fusion = random_fusion(mode)
    out = fusion(x, has)
    x['image'][1] = 100.0
    assert torch.equal(fusion(x, has), out)
    assert torch.equal(fusion({**x, 'tags': torch.ones(6, 2)}, has), out)


@pytest.mark.parametrize('mode', MODES)
def test_gradcheck(mode: str) -> None:
    x, has = modalities()
    x = {name: row.clamp(min=-2).add(3) for name, row in x.items()}  # No zero rows to step off.
    fusion = random_fusion(mode)
    names = [name for name, _ in fusion.named_parameters()]

    def run(image: Tensor, text: Tensor, audio: Tensor, *parameters: Tensor) -> Tensor:
        rows = {'image': image, 'text': text, 'audio': audio}
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(fusion, state, (rows, has))

    inputs = [*x.values(), *(p.detach() for p in fusion.parameters())]
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('dtype', [torch.float, torch.double, torch.bfloat16])
def test_dtype_is_kept(mode: str, dtype: torch.dtype) -> None:
    x, has = modalities(dtype)
    exact = random_fusion(mode)({name: row.double() for name, row in x.items()}, has)
    out = random_fusion(mode, dtype)(x, has)
    assert out.dtype == dtype
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(out.double(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('mode', MODES)
def test_no_items(mode: str) -> None:
    fusion = EarlyFusion(CHANNELS, mode)
    out = fusion({name: torch.empty(0, 4) for name in CHANNELS})
    assert out.shape == (0, fusion.out_channels)


@pytest.mark.parametrize('mode', MODES)
def test_one_modality_is_its_unit_vectors(mode: str) -> None:
    x, _ = modalities(torch.float)
    out = EarlyFusion({'image': 4}, mode)({'image': x['image']})
    torch.testing.assert_close(out, torch.nn.functional.normalize(x['image']))


@pytest.mark.parametrize('mode', MODES)
def test_copies_compute_the_same(mode: str) -> None:
    x, has = modalities()
    fusion = random_fusion(mode)
    out = fusion(x, has)
    restored = EarlyFusion(CHANNELS, mode).double()
    restored.load_state_dict(fusion.state_dict())
    for other in (copy.deepcopy(fusion), pickle.loads(pickle.dumps(fusion)), restored):
        assert torch.equal(other(x, has), out)


@pytest.mark.parametrize('mode', MODES)
def test_meta_device(mode: str) -> None:
    x = {name: torch.empty(6, 4, device='meta') for name in CHANNELS}
    fusion = EarlyFusion(CHANNELS, mode).to('meta')
    assert fusion(x).shape == (6, fusion.out_channels)
    assert fusion(x).device.type == 'meta'


@pytest.mark.parametrize('mode', MODES)
def test_compiled_equals_eager(mode: str) -> None:
    x, has = modalities()
    fusion = random_fusion(mode)
    torch.compiler.reset()
    compiled = torch.compile(fusion, backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(x, has), fusion(x, has))


@pytest.mark.parametrize('mode', MODES)
def test_exported_equals_eager(mode: str) -> None:
    inputs, fusion = modalities(), random_fusion(mode)
    exported = torch.export.export(fusion, inputs).module()
    torch.testing.assert_close(exported(*inputs), fusion(*inputs))


@pytest.mark.parametrize('mode', ['mean', 'weighted', 'concat'])
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16])
def test_result_has_the_type_of_the_features(mode: str, dtype: torch.dtype) -> None:
    x, has = modalities(dtype)
    assert EarlyFusion(CHANNELS, mode)(x, has).dtype == dtype


@pytest.mark.parametrize('mode', MODES)
def test_reset_after_to_empty_is_the_mean(mode: str) -> None:
    with torch.device('meta'):
        fusion = EarlyFusion(CHANNELS, mode)
    fusion.to_empty(device='cpu').reset_parameters()
    x, has = modalities(torch.float)
    torch.testing.assert_close(fusion(x, has), EarlyFusion(CHANNELS, mode)(x, has))


def test_constructor_errors() -> None:
    with pytest.raises(ValueError, match=r"'mode' must be one of 'mean', .* \(got 'sum'\)"):
        EarlyFusion(CHANNELS, mode='sum')
    with pytest.raises(ValueError, match="'in_channels' is empty"):
        EarlyFusion({})
    for mode in ('mean', 'weighted', 'gated'):
        with pytest.raises(ValueError, match=r"needs modalities of one width.*'concat'"):
            EarlyFusion({'image': 4, 'text': 3}, mode=mode)


@pytest.mark.parametrize('mode', MODES)
def test_forward_errors(mode: str) -> None:
    x, has = modalities()
    fusion = random_fusion(mode)
    with pytest.raises(ValueError, match=r"'x' lacks the modalities \['text'\]"):
        fusion({'image': x['image'], 'audio': x['audio']})
    with pytest.raises(ValueError, match=r"'x' has 3 channels for 'text', but .* built for 4"):
        fusion({**x, 'text': x['text'][:, :3]})
    with pytest.raises(ValueError, match=r"'text' has shape \[5, 4\]"):
        fusion({**x, 'text': x['text'][:5]})
    with pytest.raises(ValueError, match=r'torch\.int64'):
        fusion({**x, 'text': x['text'].long()})
    with pytest.raises(
        ValueError, match=r"'has' must hold a bool per item; 'image' has shape \[5\]"
    ):
        fusion(x, {'image': has['image'][:5]})
    with pytest.raises(ValueError, match=r"'has' must hold a bool per item.*torch.float32"):
        fusion(x, {'image': has['image'].float()})


def test_function_errors() -> None:
    for function in (mean_fusion, concat_fusion):
        with pytest.raises(ValueError, match="'x' is empty"):
            function({})
    with pytest.raises(ValueError, match="'mean' fusion needs modalities of one width"):
        mean_fusion({'image': torch.ones(2, 4), 'text': torch.ones(2, 3)})
    with pytest.raises(ValueError, match="mode='concat' has no weights"):
        EarlyFusion(CHANNELS, 'concat').weights(modalities()[0])


@pytest.mark.parametrize('name', ['type', 'items', 'clip.image'])
def test_gates_of_any_modality_name(name: str) -> None:
    x = torch.randn(3, 4)
    torch.testing.assert_close(
        EarlyFusion({name: 4}, mode='gated')({name: x}), mean_fusion({name: x})
    )


@pytest.mark.parametrize('mode', ['mean', 'weighted', 'gated', 'concat'])
def test_parts_of_modalities_add_up(mode: str) -> None:
    x = {name: torch.randn(6, 4) for name in ('image', 'text', 'audio')}
    has = {'text': torch.arange(6) % 2 == 0}
    fusion = EarlyFusion(dict.fromkeys(x, 4), mode)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    parts = fusion.parts(x, has)
    torch.testing.assert_close(torch.stack(list(parts.values())).sum(dim=0), fusion(x, has))
    assert parts['text'][1::2].eq(0).all()
