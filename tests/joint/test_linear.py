"""The straight part of a column: lines where there are lines, bends where left-out rows show them."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.joint.linear import LinearPart
from icl.tables.encoder import TableEncoder


def part(frame, y, weight=None, reach=None, rng=None):
    encoder = TableEncoder("a test").fit(frame)
    weight = np.ones(len(y)) if weight is None else weight
    wide = encoder.transform(frame if reach is None else reach)
    fitted = LinearPart(encoder, encoder.transform(frame), y, weight, wide, rng)
    return lambda rows: fitted(encoder.transform(rows)), fitted


def least_squares(frame, y, rows):
    X, X_new = (np.column_stack([np.ones(len(f)), f]) for f in (frame, rows))
    return X_new @ np.linalg.lstsq(X, y, rcond=None)[0]


def drawn(seed, n, bend):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    return frame, np.asarray(frame["a"] + bend * np.sin(1.3 * frame["b"]) + 0.5 * rng.normal(size=n))


@pytest.mark.parametrize("seed", range(4))
def test_lines_stay_lines(seed):
    frame, y = drawn(seed, 150, 0.0)
    new, _ = drawn(100 + seed, 400, 0.0)
    answer, _ = part(frame, y)
    off = answer(new) - least_squares(frame, y, new)
    assert np.sqrt(np.mean(off**2)) < 0.5 * np.sqrt(9 / 150)  # of what three bends for each of two columns could cost


def test_bends_are_followed_where_a_line_misses_them():
    frame, y = drawn(0, 200, 1.0)
    new, _ = drawn(1, 400, 1.0)
    truth = new["a"] + np.sin(1.3 * new["b"])
    missed = {"line": least_squares(frame, y, new) - truth, "bent": part(frame, y)[0](new) - truth}
    rms = {name: np.sqrt(np.mean(e**2)) for name, e in missed.items()}
    assert rms["bent"] < 0.5 * rms["line"] and rms["bent"] > 0.02


def test_bends_lie_where_rows_are_asked_about():
    """Few known rows at the upper end, where most gaps are: knots at the known ones would continue a line there."""
    rng = np.random.default_rng(2)
    a = rng.normal(size=1200)
    y = np.sin(1.5 * a) + 0.3 * rng.normal(size=1200)
    known = rng.random(1200) > 1 / (1 + np.exp(-3 * (a - 0.5)))
    frame = pd.DataFrame({"a": a})
    far = frame[(a > 1.2) & (a < 2.2)]
    error = {
        name: np.mean(part(frame[known], y[known], reach=reach)[0](far) - np.sin(1.5 * far["a"]))
        for name, reach in (("all", frame), ("known", frame[known]))
    }
    assert abs(error["all"]) < 0.5 * abs(error["known"])


@pytest.mark.parametrize(("n", "bend"), [(12, 0.0), (200, 1.0)], ids=["ridge", "bends"])
def test_units_copies_and_order_do_not_matter(n, bend):
    frame, y = drawn(3, n, bend)
    answer, fitted = part(frame, y)
    said = answer(frame)
    assert_allclose(part(frame * [1000.0, 0.01] + [5, -3], y)[0](frame * [1000.0, 0.01] + [5, -3]), said, atol=1e-4)
    assert_allclose(part(frame, 7 * y - 20)[0](frame), 7 * said - 20, atol=1e-6)
    order = np.random.default_rng(0).permutation(n)
    assert_allclose(part(frame.iloc[order], y[order])[0](frame), said, atol=1e-6)
    none = np.append(np.ones(n - 1), 0.0)
    less = part(frame, y, none, frame.iloc[:-1])[0](frame)
    assert_allclose(less, part(frame.iloc[:-1], y[:-1])[0](frame), atol=0.02)  # the encoder saw one row more
    assert fitted.variance > 0 and np.isfinite(fitted.residuals).all()


def test_levels_gaps_and_constants_are_taken():
    frame, y = drawn(4, 120, 1.0)
    frame = frame.assign(town=np.where(np.arange(120) % 3, "x", "y"), still=1.0)
    frame.loc[::7, "a"] = np.nan
    answer, _ = part(frame, y + 3.0 * (frame["town"] == "x"))
    said = answer(frame)
    towns = frame["town"] == "x"
    assert np.isfinite(said).all() and 2.5 < said[towns].mean() - said[~towns].mean() < 3.5


def test_draws_of_a_line_vary_as_noise_of_any_spread_lets_them():
    """The covariance HC3 by statsmodels, where noise grows with a column; that of an even noise is another."""
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    y = np.asarray(frame["a"] + np.exp(frame["a"]) * rng.normal(size=60))
    new = pd.DataFrame({"a": [-1.5, 0.0, 2.0], "b": [0.0, 1.0, -1.0]})
    draws = np.stack([part(frame, y, rng=np.random.default_rng(seed))[0](new) for seed in range(600)])
    model = sm.OLS(y, sm.add_constant(frame)).fit(cov_type="HC3")
    rows = sm.add_constant(new).to_numpy()
    spread = np.sqrt(np.einsum("ij,jk,ik->i", rows, model.cov_params().to_numpy(), rows))
    assert_allclose(draws.mean(0), rows @ model.params, atol=4 * spread.max() / np.sqrt(600))
    assert_allclose(draws.std(0), spread, rtol=4 / np.sqrt(2 * 600))
    even = np.sqrt(np.einsum("ij,jk,ik->i", rows, model.normalized_cov_params.to_numpy() * model.scale, rows))
    assert np.abs(np.log(even / spread)).max() > 0.3


@pytest.mark.parametrize("bend", [0.0, 1.5])
def test_samples_tell_a_drawn_line_of_its_noise_alone(bend):
    frame, y = drawn(3, 200, bend)
    weight = np.bincount(np.random.default_rng(1).integers(200, size=200), minlength=200)
    new, _ = drawn(4, 50, bend)
    draw = lambda weight: part(frame, y, weight, rng=np.random.default_rng(5))
    (answer, sampled), (other, plain) = draw(weight), draw(None)
    assert_allclose(answer(new), other(new))
    assert_allclose(sampled.residuals, plain.residuals)
    assert sampled.variance == pytest.approx(weight @ plain.residuals**2 / 200) and sampled.variance != plain.variance
    assert_allclose(plain.residuals, part(frame, y)[1].residuals)  # of the fit, not of the draw
