"""The driver of forward passes: whatever is cached, batched, split or threaded, the answers are the same."""

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from icl import ICLClassifier
from icl.prediction import forward, memory, workers
from icl.prediction.forward import FIT_MODES, Context, answer, prepare
from icl.prediction.memory import Footprint

SAME = {"rtol": 0, "atol": 1e-6}


def make_context(n_context: int, seed: int, n_classes: int | None = 3, n_features: int = 5) -> Context:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_context, n_features)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 0] = rng.integers(0, 3, n_context)
    y = rng.normal(size=n_context) if n_classes is None else rng.permutation(np.arange(n_context) % n_classes)
    return Context(X, y, np.arange(n_features) == 0, n_classes)


def make_rows(n_rows: int, seed: int = 0, n_features: int = 5) -> np.ndarray:
    return np.random.default_rng(1000 + seed).normal(size=(n_rows, n_features)).astype(np.float32)


def probabilities(scores: list[torch.Tensor]) -> list[torch.Tensor]:
    return [s.softmax(-1) for s in scores]


@pytest.fixture(params=[3, None], ids=["classification", "regression"])
def problem(request):
    """Four contexts, three of one shape, and as many rows for each."""
    contexts = [make_context(n, seed, request.param) for seed, n in enumerate((300, 300, 40, 300))]
    return contexts, [make_rows(200, seed) for seed in range(4)]


@pytest.fixture
def alone(tiny_model, problem):
    """The answers by the definition: one context and one row at a time would do; here one context in float64."""
    exact = []
    for context, rows in zip(*problem):
        X = torch.from_numpy(np.concatenate([context.X_NF, rows]))[None].double()
        y, flags = torch.from_numpy(context.y_N)[None], torch.from_numpy(context.is_categorical_F)[None]
        with torch.no_grad():
            model = type(tiny_model)(tiny_model.config).double().eval()
            model.load_state_dict(tiny_model.state_dict())
            exact.append(model(X, y, flags, context.n_classes)[0].softmax(-1))
    return exact


@pytest.mark.parametrize("memory_gb", [2.0, 1e-3], ids=["roomy", "tight"])
@pytest.mark.parametrize("fit_mode", FIT_MODES)
@pytest.mark.filterwarnings("ignore:fit_mode=:UserWarning")  # "cache" in 1 MB says that it cannot
def test_answers_do_not_depend_on_cache_memory_or_batches(tiny_model, problem, alone, fit_mode, memory_gb):
    contexts, rows = problem
    first = probabilities(answer(tiny_model, contexts, rows, memory_gb, fit_mode))
    second = probabilities(answer(tiny_model, contexts, rows, memory_gb, fit_mode))
    some = probabilities(answer(tiny_model, contexts[1:2], [rows[1][7:8]], memory_gb, fit_mode))
    for one, two, exact in zip(first, second, alone):
        assert_close(one, exact, rtol=0, atol=1e-5)
        assert_close(two, one, **SAME)
    assert_close(some[0], first[1][7:8], **SAME)


def test_threads_do_not_matter(tiny_model, problem):
    before = torch.get_num_threads()
    found = {}
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found[n] = probabilities(answer(tiny_model, *problem, fit_mode="low_memory"))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)
    for n in (2, 3):
        for one, other in zip(found[1], found[n]):
            assert_close(one, other, **SAME)


def test_split_passes_keep_within_their_slices(tiny_model, problem, alone, monkeypatch):
    """With room for a slice only, many small passes give what one gives."""
    contexts, rows = problem
    monkeypatch.setattr(memory, "MIN_SLICE_ROWS", 30)
    monkeypatch.setattr(memory, "SLICE_TOKENS", {"cpu": 1})
    seen = []
    one_pass = type(tiny_model).forward
    monkeypatch.setattr(
        type(tiny_model), "forward", lambda self, X, y, *rest: seen.append(X.shape) or one_pass(self, X, y, *rest)
    )
    split = probabilities(answer(tiny_model, contexts, rows, 1e-6, "low_memory"))
    assert max(R - N for (_, R, _), N in zip(seen, [300] * 7 + [40] * 7 + [300] * 14) if N == 300) <= 30
    assert len(seen) == 4 * -(-200 // 30)
    for one, exact in zip(split, alone):
        assert_close(one, exact, rtol=0, atol=1e-5)


def test_no_rows_and_unequal_rows(tiny_model):
    contexts = [make_context(30, seed, n_classes) for seed, n_classes in enumerate((3, 3, None))]
    rows = [make_rows(0), make_rows(9), make_rows(0)]
    none, some, no_numbers = answer(tiny_model, contexts, rows)
    assert none.shape == (0, 5) and some.shape == (9, 5) and no_numbers.shape == (0, tiny_model.config.n_bins)


def count_reads(model, monkeypatch) -> list:
    reads = []
    read = type(model).read_context
    monkeypatch.setattr(type(model), "read_context", lambda self, *a: reads.append(len(a[0])) or read(self, *a))
    return reads


def test_a_context_is_read_once(tiny_model, problem, monkeypatch):
    contexts, rows = problem
    reads = count_reads(tiny_model, monkeypatch)
    for n_rows in (200, 1, 50):
        answer(tiny_model, contexts, [r[:n_rows] for r in rows])
    assert sum(reads) == len(contexts)


def test_fit_mode_cache_reads_ahead(tiny_model, problem, monkeypatch):
    contexts, rows = problem
    reads = count_reads(tiny_model, monkeypatch)
    prepare(tiny_model, contexts)
    assert sum(reads) == len(contexts)
    answer(tiny_model, contexts, rows, fit_mode="cache")
    assert sum(reads) == len(contexts)


def test_low_memory_and_a_lack_of_it_keep_nothing(tiny_model, problem):
    contexts, rows = problem
    gc.collect()  # what an earlier test left
    kept = len(forward._CACHES)
    answer(tiny_model, contexts, rows, fit_mode="low_memory")
    answer(tiny_model, contexts, rows, memory_gb=1e-4)
    with pytest.warns(UserWarning, match=r"needs .* GB to keep .* memory_gb is 0\.0001"):
        prepare(tiny_model, contexts, memory_gb=1e-4)
    assert len(forward._CACHES) == kept


def test_a_cache_goes_with_its_context(tiny_model):
    contexts, rows = [make_context(30, 0), make_context(30, 1)], [make_rows(3)] * 2
    gc.collect()  # what an earlier test left
    kept = len(forward._CACHES)
    answer(tiny_model, contexts, rows)
    assert len(forward._CACHES) > kept
    del contexts
    gc.collect()
    assert len(forward._CACHES) == kept


def test_an_estimator_pickles_no_cache_and_drops_it_at_refit(tiny_release):
    X, y = make_rows(40), np.arange(40) % 2
    gc.collect()  # what an earlier test left
    kept = len(forward._CACHES)
    # Of the same shape at both fits: a ridge column may be made of 40 rows and not of 30.
    estimator = ICLClassifier(tiny_release, device="cpu", fit_mode="cache", companions=()).fit(X, y)
    assert len(forward._CACHES) > kept
    once = len(forward._CACHES)
    small = ICLClassifier(tiny_release, device="cpu").fit(X, y)
    before = len(pickle.dumps(small))
    answers = small.predict_proba(X[:7])
    assert len(pickle.dumps(small)) == before
    again = pickle.loads(pickle.dumps(small)).predict_proba(X[:7])
    np.testing.assert_allclose(again, answers, rtol=0, atol=1e-6)
    unlike = ICLClassifier(tiny_release, device="cpu", companions=()).fit(X, y).predict_proba(X[:7])
    np.testing.assert_allclose(estimator.predict_proba(X[:7]), unlike, rtol=0, atol=1e-6)
    del small
    gc.collect()
    estimator.fit(X[:30], y[:30])
    gc.collect()
    assert len(forward._CACHES) == once


def test_changed_weights_are_noticed(tiny_model):
    model = type(tiny_model)(tiny_model.config).eval()
    model.load_state_dict(tiny_model.state_dict())
    context, rows = make_context(30, 0), make_rows(4)
    before = answer(model, [context], [rows])[0]
    with torch.no_grad():
        model.thinking.mul_(1.5)
    after = answer(model, [context], [rows])[0]
    assert not torch.allclose(before, after)
    assert_close(after, answer(model, [context], [rows], fit_mode="low_memory")[0], **SAME)
    assert_close(before, answer(tiny_model, [context], [rows])[0], **SAME)


def test_an_unknown_fit_mode_is_refused(tiny_model):
    with pytest.raises(ValueError, match=r"fit_mode must be one of 'auto'.*got 'fast'"):
        answer(tiny_model, [], [], fit_mode="fast")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak memory of a process from Linux")
def test_memory_is_what_was_estimated():
    """Peak resident memory against the estimate, within a factor; and it does not grow with the number of rows."""
    code = Path(__file__).parents[1] / "peak_memory.py"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(code.parents[1])}
    done = subprocess.run([sys.executable, code], capture_output=True, text=True, env=env, cwd=code.parents[1])
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    measured = {name: (float(peak), float(estimate)) for name, peak, estimate in lines}
    for name in ("low_memory", "auto"):
        peak, estimate = measured[name]
        # 1.11 and 1.32 were seen in runs of the same code: what the allocator holds back differs from run to run.
        assert 0.6 < peak / estimate < 1.5, (name, peak, estimate)
    few, many = measured["10000_rows"][0], measured["40000_rows"][0]
    # The table in float32 and the answers: 30,000 more rows of 6 columns and 2 classes.
    assert many - few < 3 * 30_000 * (6 * 4 + 2 * 8), (few, many)


def test_footprint_counts_the_cache_exactly(tiny_model):
    context = make_context(30, 0, None)
    prepare(tiny_model, [context])
    cache = forward._CACHES.find(forward._state(tiny_model), [context])
    assert Footprint.of(tiny_model, 30, 5, 1).cache == sum(kv.nbytes for kv in cache.keys_values)


@pytest.mark.parametrize(
    ("costs", "n_workers", "n_threads", "n_beside"),
    [
        ([1, 1, 1, 1], 2, 2, 4),  # two rounds of two
        ([2, 1, 1], 2, 2, 3),  # the two small ones beside the large one
        ([1, 1, 1], 2, 2, 2),  # the third on both threads: 1 + .7, not 2
        ([5, 1], 2, 2, 0),  # each on both threads: 4.2, where the first alone takes 5
        ([1, 1, 1], 3, 8, 3),
    ],
)
def test_work_is_dealt_so_that_it_is_done_soonest(costs, n_workers, n_threads, n_beside):
    assert workers._n_beside(costs, n_workers, n_threads) == n_beside


@pytest.mark.parametrize("free", [100, 1], ids=["room for all", "room for one"])
def test_every_job_is_done_once_whatever_the_room(free):
    done = []
    jobs = [workers.Job(cost, 10, lambda share, cost=cost: done.append((cost, share))) for cost in (1, 3, 2, 2.5)]
    before = torch.get_num_threads()
    workers.spread(jobs, free, torch.device("cpu"))
    assert sorted(cost for cost, _ in done) == [1, 2, 2.5, 3] and torch.get_num_threads() == before
    assert all(share <= free for _, share in done)
    if free == 1:
        assert [cost for cost, _ in done] == [3, 2.5, 2, 1] and {share for _, share in done} == {1}
    workers.spread([], 1, torch.device("cpu"))
