import pytest

from pyg_mmgef.nn import AlignmentUniformityLoss, BPRLoss, SampledSoftmaxLoss
from pyg_mmgef.runs.losses import build_loss, complete_loss, loader_options
from pyg_mmgef.settings import Settings


def test_defaults_are_of_the_loss() -> None:
    bpr = complete_loss(Settings())
    assert (bpr.loss, bpr.lr, bpr.l2, bpr.gamma) == ('bpr', 5e-3, 1e-3, None)
    assert isinstance(build_loss(bpr), BPRLoss)
    softmax = complete_loss(Settings(loss='softmax', num_negatives=7))
    assert isinstance(build_loss(softmax), SampledSoftmaxLoss)
    assert loader_options(softmax)['num_negatives'] == 7
    assert isinstance(build_loss(complete_loss(Settings(loss='au'))), AlignmentUniformityLoss)


def test_options_of_another_loss() -> None:
    with pytest.raises(ValueError, match="'temperature' is an option of loss='softmax', not of bp"):
        complete_loss(Settings(temperature=0.1))
