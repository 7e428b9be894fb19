import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Barrier, Event, Thread, get_ident

import faiss
import pytest
import torch

from pyg_mmgef._threads import limit_threads, run_jobs


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


def test_faiss_is_not_needed_and_follows_if_it_is_imported_inside() -> None:
    script = (
        'import sys, torch\n'
        'torch.set_num_threads(3)\n'
        'sys.modules["faiss"] = None\n'
        'from pyg_mmgef.graph import co_interaction_graph, knn_graph\n'
        'pairs, x = torch.tensor([[0, 0], [0, 1]]), torch.eye(4)\n'
        'assert co_interaction_graph(pairs, 1, 2, 1, num_threads=2)[0].size(1) == 2\n'
        'assert knn_graph(x, 1, backend="exact", num_threads=2)[0].size(1) == 4\n'
        'del sys.modules["faiss"]\n'
        'knn_graph(x, 1)\n'
        'assert "faiss" not in sys.modules\n'
        'from pyg_mmgef._threads import limit_threads\n'
        'with limit_threads(2):\n'
        '    knn_graph(x, 1, backend="faiss_flat")\n'
        '    assert sys.modules["faiss"].omp_get_max_threads() == 2\n'
        'assert sys.modules["faiss"].omp_get_max_threads() == torch.get_num_threads() == 3\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=99
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('num_threads', [0, -1, 1.5, True])
def test_must_be_a_positive_integer(num_threads: int) -> None:
    with (
        pytest.raises(ValueError, match="'num_threads' must be a positive integer"),
        limit_threads(num_threads),
    ):
        pass


class TestJobs:
    @pytest.mark.parametrize('concurrent', [True, False])
    def test_results_in_order(self, concurrent: bool) -> None:
        def wait(number: int) -> int:
            time.sleep(0.002 * (number % 3))
            return number

        assert run_jobs(wait, range(40), concurrent=concurrent) == list(range(40))
        assert run_jobs(wait, []) == []

    def test_each_computes_with_one_thread(self) -> None:
        with limit_threads(3):
            found = run_jobs(lambda job: (torch.get_num_threads(), get_ident()), range(50))
        assert {threads for threads, _ in found} == {1}
        assert get_ident() not in {ident for _, ident in found}

    def test_the_number_of_all_other_threads_stays(self) -> None:
        """Of the caller, of one that knows torch already, and of new ones, during and after."""

        def num_threads_of_a_new_thread() -> int:
            found: list[int] = []
            thread = Thread(target=lambda: found.append(torch.get_num_threads()))
            thread.start()
            thread.join()
            return found[0]

        def work(job: int) -> tuple[int, int]:
            return num_threads_of_a_new_thread(), torch.get_num_threads()

        def use_torch() -> None:
            known.append(torch.get_num_threads())
            begun.set()
            done.wait()
            known.append(torch.get_num_threads())

        known: list[int] = []
        begun, done = Event(), Event()
        with limit_threads(3):
            other = Thread(target=use_torch)
            other.start()
            begun.wait()
            assert set(run_jobs(work, range(20))) == {(3, 1)}
            assert torch.get_num_threads() == num_threads_of_a_new_thread() == 3
            done.set()
            other.join()
        assert known == [3, 3]

    @pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='counts threads in /proc')
    def test_no_operation_starts_further_threads(self) -> None:
        """Those of OpenMP, oneDNN and the BLAS: each keeps a number of threads of its own."""

        def work(job: int) -> set[str]:
            ready.wait()
            before = set(os.listdir('/proc/self/task'))
            for x in (single, single.double(), single.bfloat16()):
                (x @ x).sum(dim=0).sort()
            return set(os.listdir('/proc/self/task')) - before

        single = torch.randn(800, 800)
        ready = Barrier(2)
        with limit_threads(2):
            assert run_jobs(work, range(2)) == [set(), set()]

    def test_a_thread_that_cannot_start_ends_them_all(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def start(thread: Thread) -> None:
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(thread)
            original(thread)

        started: list[Thread] = []
        original = Thread.start
        with limit_threads(3):
            monkeypatch.setattr(Thread, 'start', start)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                run_jobs(abs, range(5))
            assert torch.get_num_threads() == 3
        assert not any(thread.is_alive() for thread in started)

    def test_one_after_the_other_in_this_thread(self) -> None:
        with limit_threads(3):
            found = run_jobs(
                lambda job: (torch.get_num_threads(), get_ident()), range(5), concurrent=False
            )
        assert set(found) == {(3, get_ident())}

    @pytest.mark.parametrize('num_threads', [1, 2])
    def test_they_run_in_the_inference_mode_of_the_caller(self, num_threads: int) -> None:
        def add(job: int) -> bool:
            total[job] += 1
            return torch.is_inference_mode_enabled()

        with limit_threads(num_threads):
            total = torch.zeros(4)
            assert not any(run_jobs(add, range(4)))
            with torch.inference_mode():
                total = torch.zeros(4)
                assert all(run_jobs(add, range(4)))

    def test_an_error_ends_the_rest(self) -> None:
        started = []

        def work(number: int) -> None:
            started.append(number)
            time.sleep(0.001)
            if number == 3:
                raise RuntimeError('job 3')

        with limit_threads(2), pytest.raises(RuntimeError, match='job 3'):
            run_jobs(work, range(5000))
        assert len(started) < 4000

    def test_progress_only_when_asked(self, capsys: pytest.CaptureFixture[str]) -> None:
        run_jobs(abs, range(3), desc='counting')
        assert capsys.readouterr() == ('', '')
        run_jobs(abs, range(3), desc='counting', verbose=True)
        assert 'counting: 100%' in capsys.readouterr().err
