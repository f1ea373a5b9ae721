"""A mean that is looked at after every batch."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import icl
from icl.inference import Mean, Monitor


def stream(seed: int, n_batches: int, p: float = 0.8, n: int = 15, N: int = 80, change: int | None = None):
    rng = np.random.default_rng(seed)
    for t in range(n_batches):
        y = (rng.random(N) < (p if change is None or t < change else p - 0.2)) * 1.0
        f = np.where(rng.random(N) < 0.85, y, 1 - y)
        yield pd.DataFrame({"ok": np.where(np.arange(N) < n, y, np.nan), "f": f})


def watch(batches, **options) -> Monitor:
    found = icl.monitor(Mean("ok"), **options)
    for batch in batches:
        found.update(batch)
    return found


def test_without_predictions_it_is_the_running_mean_and_robbins_mixture():
    batches = [*stream(0, 20)]
    found = watch(batches)
    y = pd.concat(batches)["ok"].dropna()
    assert_allclose(found.estimate, y.mean())
    low, high = found.interval()
    assert_allclose([found.e_value(low), found.e_value(high)], 20, rtol=1e-6)  # where the interval ends, E is 1 / .05
    assert found.e_value(y.mean()) < 1 and found.p_value(0.5) < 1e-6
    fixed = 2 * 1.96 * y.std() / np.sqrt(len(y))
    assert 1.2 * fixed < high - low < 2.2 * fixed


def test_misses_at_any_time_are_as_rare_as_promised():
    """50 streams, looked at 30 times each; the fixed interval misses about a third of them."""
    missed = fixed = 0
    for seed in range(50):
        batches = [*stream(seed, 30)]
        frame = watch(batches, predictions="f").to_frame()
        missed += bool(((frame["lower"] > 0.8) | (frame["upper"] < 0.8)).any())
        y = np.concatenate([b["ok"].dropna() for b in batches])
        n = np.arange(15, len(y) + 1, 15)
        means = np.cumsum(y)[n - 1] / n
        fixed += bool((np.abs(means - 0.8) > 1.96 * np.sqrt(means * (1 - means) / n))[2:].any())
    assert missed <= 8 and fixed > 9


def test_predictions_narrow_it_and_bad_ones_do_not_widen_it():
    batches = [*stream(1, 30)]
    width = lambda m: np.ptp(m.interval())
    rng = np.random.default_rng(0)
    noise = [b.assign(f=rng.normal(size=len(b))) for b in batches]
    plain = width(watch(batches))
    assert width(watch(batches, predictions="f")) < 0.85 * plain
    assert width(watch(noise, predictions="f")) < 1.05 * plain


def test_decisions_stay_and_state_is_saved_whole(tmp_path):
    batches = [*stream(2, 40)]
    found = watch(batches[:20], predictions="f")
    found.save(tmp_path / "state.json")
    again = Monitor.load(tmp_path / "state.json")
    for batch in batches[20:]:
        found.update(batch)
        again.update(batch)
    assert again == found and again.interval() == found.interval()
    assert found.decided(">= 0.6") is True and found.decided("<= 0.6") is False and found.decided(">= 0.8") is None
    with pytest.raises(ValueError, match="claim"):
        found.decided("about 0.9")


def test_units_carry_over():
    rng = np.random.default_rng(0)
    batches = [pd.DataFrame({"ok": rng.normal(size=20), "f": rng.normal(size=20)}) for _ in range(10)]
    for batch in batches:
        batch.loc[10:, "ok"] = np.nan
        batch["f"] += 0.1 * batch["ok"].fillna(0)
    ours = watch(batches, predictions="f").interval()
    other = watch([5 + 1000 * b for b in batches], predictions="f").interval()
    assert_allclose(other, 5 + 1000 * np.array(ours), rtol=1e-9)


def test_alarm_goes_off_after_a_change_and_hardly_before():
    quiet = sum(watch(stream(s, 30), predictions="f").alarm()[0] for s in range(20))
    loud = sum(watch(stream(s, 40, change=20), predictions="f").alarm()[0] for s in range(8))
    assert quiet <= 4 and loud >= 7


def test_files_that_hold_no_monitor_are_refused(tmp_path):
    for text in ("{}", "[1]", "no JSON", '{"batches": [], "a": 1}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match="holds no monitor"):
            Monitor.load(tmp_path / "other.json")


def test_an_event_that_never_comes_is_said_once():
    batch = pd.DataFrame({"ok": ["Yes", "no"] * 8})
    unseen = icl.monitor(Mean("ok", event="yes")).update(batch)
    with pytest.warns(UserWarning, match="none of the first 32 labels of 'ok' is 'yes'.* holds 'Yes', 'no'"):
        unseen.update(batch)
    unseen.update(batch)
    seen = icl.monitor(Mean("ok", event="Yes"))
    for _ in range(3):
        seen.update(batch)
    assert seen.estimate == 0.5


def test_what_it_cannot_watch_is_refused():
    for horizon in ("many", float("nan"), 1):
        with pytest.raises(ValueError, match="must be a whole number of labels"):
            icl.monitor(Mean("ok"), horizon=horizon)
    with pytest.raises(ValueError, match="predictions in 'f' must be numbers"):
        icl.monitor(Mean("ok"), predictions="f").update(pd.DataFrame({"ok": [1.0], "f": ["yes"]}))
    with pytest.raises(ValueError, match="one mean"):
        icl.monitor(Mean(["a", "b"]))
    with pytest.raises(ValueError, match="ok"):
        icl.monitor(Mean("ok")).update(pd.DataFrame({"f": [1.0]}))
