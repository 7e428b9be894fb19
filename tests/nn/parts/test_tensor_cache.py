import copy
import pickle
import sys
import threading

import torch

from pyg_mmgef.nn.parts.tensor_cache import TensorCache


class Builder:
    """Builds a new object each time, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> list[int]:
        self.count += 1
        return [self.count]


def test_builds_once_for_the_same_tensors() -> None:
    cache, build = TensorCache(), Builder()
    a, b = torch.ones(2), torch.ones(3)
    first = cache.get([a, b], build)
    assert first == [1]
    assert cache.get([a, b], build) is first
    assert cache.get((a, b), build) is first
    assert build.count == 1


def test_replaced_tensors_are_noticed() -> None:
    cache, build = TensorCache(), Builder()
    a, b = torch.ones(2), torch.ones(2)
    cache.get([a, b], build)
    for number, tensors in enumerate(([a, a.clone()], [b, a], [a], [a, b, b], []), start=2):
        assert cache.get(tensors, build) == [number]


def test_equal_values_are_not_the_same_tensor() -> None:
    cache, build = TensorCache(), Builder()
    cache.get([torch.ones(2)], build)
    # The first is freed by its caller; its address must not be taken for it.
    assert cache.get([torch.ones(2)], build) == [2]


def test_the_same_view_is_the_same_tensor() -> None:
    cache, build = TensorCache(), Builder()
    a = torch.ones(4, 1)
    first = cache.get([a.view(4)], build)
    assert cache.get([a.view(4)], build) is first
    others = a.view(4)[:2], a.view(4)[2:], a.view(2, 2), torch.ones(4, 1).view(4)
    assert [cache.get([x], build) for x in others] == [[2], [3], [4], [5]]
    cache.get([a.view(4)], build)
    a[0] = 2
    assert cache.get([a.view(4)], build) == [7]


def test_changes_in_place_are_noticed() -> None:
    cache, build = TensorCache(), Builder()
    a, b = torch.ones(2), torch.ones(2)
    cache.get([a, b], build)
    b[0] = 5
    assert cache.get([a, b], build) == [2]
    b.view(-1)[1:].add_(1)  # Through a view.
    assert cache.get([a, b], build) == [3]
    assert cache.get([a, b], build) == [3]


def test_only_the_last_graph_is_kept() -> None:
    cache, build = TensorCache(), Builder()
    a, b = torch.ones(2), torch.ones(2)
    assert [cache.get([x], build)[0] for x in (a, b, a, a)] == [1, 2, 3, 3]


def test_nothing_may_be_a_value() -> None:
    cache, calls = TensorCache(), []
    a = torch.ones(2)
    for _ in range(2):
        assert cache.get([a], lambda: calls.append(1)) is None
    assert len(calls) == 1


def test_options_are_part_of_the_key() -> None:
    cache, build = TensorCache(), Builder()
    a = torch.ones(2)
    values = [cache.get([a], build, dtype) for dtype in (torch.float, torch.float, torch.double)]
    assert values == [[1], [1], [2]]


def test_nothing_is_cached_for_tensors_without_a_version() -> None:
    cache, build = TensorCache(), Builder()
    with torch.inference_mode():
        a = torch.ones(2)
        assert cache.get([a], build) == [1]
        a[0] = 5  # Torch doesn't count changes of such tensors.
        assert cache.get([a], build) == [2]
    assert cache.get([a], build) == [3]


def test_nothing_is_cached_for_what_an_optimizer_may_change() -> None:
    cache = TensorCache()
    a = torch.ones(2, requires_grad=True)
    a.grad = torch.ones(2)
    before = cache.get([a], lambda: a.detach().clone())
    torch.optim.SGD([a], lr=1.0, fused=True).step()
    assert not torch.equal(cache.get([a], lambda: a.detach().clone()), before)


def test_threads_never_get_the_value_of_another_tensor() -> None:
    cache = TensorCache()
    tensors = [torch.full((1,), float(number)) for number in range(2)]
    wrong: list[tuple[float, float]] = []

    def read(tensor: torch.Tensor) -> None:
        for _ in range(2000):
            value = cache.get([tensor], tensor.item)
            if value != tensor.item():
                wrong.append((value, tensor.item()))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=read, args=(tensor,)) for tensor in tensors * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


def test_what_is_built_during_inference_serves_training() -> None:
    cache = TensorCache()
    a = torch.ones(2)
    with torch.inference_mode():
        value = cache.get([a], lambda: a + 1)
    x = torch.ones(2, requires_grad=True)
    (x * value).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, value)


def test_a_failed_build_is_not_remembered() -> None:
    cache, build = TensorCache(), Builder()
    a, b = torch.ones(2), torch.ones(2)
    cache.get([a], build)

    def fail() -> None:
        raise ValueError('no graph')

    for _ in range(2):
        try:
            cache.get([b], fail)
        except ValueError:
            continue
        raise AssertionError('the second call must build again')
    assert cache.get([b], build) == [2]


def test_clear_forgets() -> None:
    cache, build = TensorCache(), Builder()
    a = torch.ones(2)
    cache.get([a], build)
    cache.clear()
    assert cache.get([a], build) == [2]


def test_copies_start_empty() -> None:
    cache, build = TensorCache(), Builder()
    a = torch.ones(2)
    cache.get([a], build)
    for number, other in enumerate((copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))), 2):
        assert other.get([a], build) == [number]
    assert cache.get([a], build) == [1]
    assert len(pickle.dumps(cache)) < 200
