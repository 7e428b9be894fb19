import faiss
import pytest
import torch

from pyg_mmgef.graph.threads import limit_threads


def test_limits_and_restores_even_after_an_error() -> None:
    before = torch.get_num_threads(), faiss.omp_get_max_threads()

    def work() -> None:
        with limit_threads(1):
            assert torch.get_num_threads() == 1
            assert faiss.omp_get_max_threads() == 1
            raise RuntimeError('inside')

    with pytest.raises(RuntimeError, match='inside'):
        work()
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before


def test_none_changes_nothing() -> None:
    before = torch.get_num_threads()
    with limit_threads(None):
        assert torch.get_num_threads() == before


@pytest.mark.parametrize('num_threads', [0, -1, 1.5, True])
def test_must_be_a_positive_integer(num_threads: int) -> None:
    with (
        pytest.raises(ValueError, match="'num_threads' must be a positive integer"),
        limit_threads(num_threads),
    ):
        pass
