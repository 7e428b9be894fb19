import torch

from pyg_mmgef.nn.parts._tensor_digest import tensor_digest


def test_equal_tensors_have_one_digest() -> None:
    x = torch.arange(6.0).view(2, 3)
    assert (
        tensor_digest([x]) == tensor_digest([x.t().contiguous().t()]) == tensor_digest([x.clone()])
    )
    others = [x.view(3, 2), x.double(), x + 1, x.to(torch.int32), x.bfloat16()]
    assert len({tensor_digest([other]) for other in [x, *others]}) == 6
    assert tensor_digest([x, x]) != tensor_digest([x])
    assert tensor_digest([x[:0]]) != tensor_digest([])
