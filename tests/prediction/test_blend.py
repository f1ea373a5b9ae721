"""The last blend: closed cases, the best point of a grid, and what a voice may know of a label."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from icl import ICLRegressor
from icl.network.distribution import CategoricalPredictive, HistogramPredictive, histogram_edges
from icl.prediction.blend import (
    OF_CLASSES,
    OF_NUMBERS,
    Blend,
    class_shares,
    number_shares,
    prior_shares,
    usual_temperature,
)
from icl.prediction.companions.columns import KINDS
from icl.prediction.companions.points import PointVoice
from icl.prediction.companions.protocol import Labelled
from icl.prediction.companions.ridge import RidgeColumns
from icl.prediction.companions.voice import ClassVoice, NumberVoice

EDGES = histogram_edges(64).numpy()
VOICES = [("trees", None), ("trees", 2), ("trees", 4), ("points", None)]


def normal_masses(mean_H, std):
    cdf = torch.distributions.Normal(torch.as_tensor(mean_H)[:, None], std).cdf(torch.from_numpy(EDGES)).numpy()
    return np.log(np.diff(np.pad(cdf, ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1) + 1e-9)


def test_no_rows_and_voices_alike_leave_the_prior():
    nothing, usual, offsets = class_shares(np.empty((0, 3, 2)), np.empty(0, int), np.empty(0))
    np.testing.assert_allclose(nothing, prior_shares(3, OF_CLASSES[0]), atol=1e-6)
    assert usual == pytest.approx(usual_temperature(2), abs=1e-6) and not offsets.any()
    alike, usual, _ = class_shares(np.log(np.full((200, 2, 3), 1 / 3)), np.zeros(200, int), np.ones(200))
    np.testing.assert_allclose(alike, prior_shares(2, OF_CLASSES[0]), atol=1e-6)
    assert usual == pytest.approx(usual_temperature(3), abs=1e-6)
    same = normal_masses(np.zeros(50), 1.0)
    y = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(
        number_shares([same, same], EDGES, y, np.ones(50)), prior_shares(2, OF_NUMBERS[0]), atol=1e-3
    )


def test_many_rows_find_the_voice_that_knows():
    rng = np.random.default_rng(1)
    y = rng.normal(size=400)
    knows, guesses = normal_masses(y + 0.1 * rng.normal(size=400), 0.15), normal_masses(np.zeros(400), 1.0)
    assert number_shares([guesses, knows], EDGES, y, np.ones(400))[1] > 0.85
    assert number_shares([knows, guesses], EDGES, y, np.ones(400))[0] > 0.85
    log_probs = np.log(np.broadcast_to([[0.5, 0.5], [0.1, 0.9]], (400, 2, 2)))
    right = np.ones(400, int)
    assert class_shares(log_probs, right, np.ones(400))[0][1] > 0.8  # and colder
    assert class_shares(log_probs[:3], right[:3], np.ones(3))[0][1] < 0.35  # three rows move little


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("surer", [0.7, 1.0, 1.6])
def test_many_rows_find_how_sure_the_pool_should_have_been(surer, n_classes):
    """An oracle: labels of the pooled odds to a known power; and few rows, or many of no weight, hardly move it."""
    rng = np.random.default_rng(8)
    one = np.log(rng.dirichlet(np.ones(n_classes), size=20_000))
    two = one + 0.3 * rng.normal(size=one.shape)
    log_probs = np.stack([one, two - np.logaddexp.reduce(two, 1)[:, None]], 1)
    pooled = surer * log_probs.mean(1)
    odds = np.exp(pooled - pooled.max(1)[:, None])
    y = (odds.cumsum(1) > rng.random((20_000, 1)) * odds.sum(1)[:, None]).argmax(1)
    shares, temperature, _ = class_shares(log_probs, y, np.ones(20_000))
    assert temperature == pytest.approx(1 / surer, rel=0.05)
    assert abs(shares[0] - 0.5) < 0.1
    usual = usual_temperature(n_classes)
    assert class_shares(log_probs[:5], y[:5], np.ones(5))[1] == pytest.approx(usual, rel=0.06)
    assert class_shares(log_probs, y, np.full(20_000, 1e-6))[1] == pytest.approx(usual, rel=0.01)


def test_offsets_of_classes_are_found_and_held_back():
    """An oracle: labels of one voice's odds, each class times a number that is known."""
    rng = np.random.default_rng(9)
    log_probs = np.log(rng.dirichlet(np.ones(4), size=20_000))
    true = np.array([0.5, -0.2, 0.0, -0.3])
    odds = np.exp(log_probs / usual_temperature(4) + true)
    y = (odds.cumsum(1) > rng.random((20_000, 1)) * odds.sum(1)[:, None]).argmax(1)
    _, temperature, found = class_shares(log_probs[:, None], y, np.ones(20_000), with_offsets=True)
    np.testing.assert_allclose(found - found.mean(), true, atol=0.06)
    assert temperature == pytest.approx(usual_temperature(4), rel=0.05)
    for rows, most in ((slice(0, 0), 1e-6), (slice(0, 5), 0.15)):
        _, _, few = class_shares(log_probs[rows, None], y[rows], np.ones(len(y[rows])), with_offsets=True)
        assert np.abs(few).max() < most
    order = np.array([2, 0, 3, 1])  # what classes are called changes nothing
    _, _, other = class_shares(log_probs[:, None, order], np.argsort(order)[y], np.ones(20_000), with_offsets=True)
    np.testing.assert_allclose(other, found[order], atol=1e-3)


def test_what_is_chosen_for_classes_leaves_no_slope():
    """Of the posterior density, by differences, in every direction at once and alone."""
    rng = np.random.default_rng(10)
    log_probs = np.log(rng.dirichlet(np.ones(3), size=(80, 3)))
    y, weight = rng.integers(0, 3, 80), rng.uniform(0.2, 2, size=80)
    shares, temperature, offsets = class_shares(log_probs, y, weight, with_offsets=True)

    def density(free):
        own = np.exp(free[:3] - np.logaddexp.reduce(free[:3]))
        logs = np.einsum("hvc,v->hc", log_probs, own) / np.exp(free[3]) + free[4:]
        logs -= np.logaddexp.reduce(logs, 1)[:, None]
        prior = OF_CLASSES[1] * prior_shares(3, OF_CLASSES[0]) @ np.log(own)
        off = (free[3] - np.log(usual_temperature(3))) / 0.1
        return weight @ logs[np.arange(80), y] + prior - off**2 / 2 - ((free[4:] / 0.2) ** 2).sum() / 2

    best = np.concatenate([np.log(shares), [np.log(temperature)], offsets])
    for way in [*np.eye(7), *rng.normal(size=(20, 7))]:
        slope = (density(best + 1e-4 * way) - density(best - 1e-4 * way)) / 2e-4
        assert abs(slope) < 0.02, way
        assert density(best) > density(best + 0.1 * way)


def test_class_shares_are_the_best_of_a_grid():
    rng = np.random.default_rng(2)
    log_probs = np.log(rng.dirichlet(np.ones(3), size=(60, 2)))
    y, weight = rng.integers(0, 3, 60), rng.uniform(0.2, 2, size=60)
    found, temperature, _ = class_shares(log_probs, y, weight)
    grid = np.linspace(0.001, 0.999, 999)
    network, n_rows = OF_CLASSES
    parts = [CategoricalPredictive(torch.from_numpy(log_probs[:, v] / temperature)) for v in (0, 1)]
    pooled = [
        CategoricalPredictive.pool(parts, np.log([share, 1 - share])).log_prob(torch.from_numpy(y)) for share in grid
    ]
    score = np.stack(pooled) @ weight + n_rows * (network * np.log(grid) + (1 - network) * np.log(1 - grid))
    assert abs(found[0] - grid[score.argmax()]) < 0.01
    assert found.sum() == pytest.approx(1)


def test_number_shares_minimise_the_crps_of_the_mixture():
    """Against the CRPS that the distribution itself reports, on a grid of shares; the prior hardly counts here."""
    rng = np.random.default_rng(3)
    y = rng.normal(size=3_000)
    voices = [normal_masses(0.5 * y + 0.4, 0.5), normal_masses(y + 0.6 * rng.normal(size=3_000), 0.6)]
    found = number_shares(voices, EDGES, y, np.ones(3_000))
    members = [HistogramPredictive(torch.from_numpy(v), torch.from_numpy(EDGES)) for v in voices]
    grid = np.linspace(0.05, 0.95, 19)
    losses = [
        HistogramPredictive.mixture(members, np.log([share, 1 - share])).crps(torch.from_numpy(y)).mean().item()
        for share in grid
    ]
    assert abs(found[0] - grid[int(np.argmin(losses))]) < 0.06


def test_weights_of_a_mixture():
    parts = [CategoricalPredictive(torch.tensor([[0.8, 0.2]]).log()), CategoricalPredictive(torch.zeros(1, 2))]
    mixed = CategoricalPredictive.mixture(parts, np.log([0.25, 0.75]))
    torch.testing.assert_close(mixed.probs, torch.tensor([[0.575, 0.425]]))
    np.testing.assert_allclose(np.exp(Blend((0.6, 0.4)).log_weights(4)), [0.2, 0.2, 0.2, 0.4])


def test_a_pool_is_the_mean_of_log_probabilities():
    parts = [
        CategoricalPredictive(torch.tensor([[0.8, 0.2]]).log()),
        CategoricalPredictive(torch.tensor([[0.6, 0.4]]).log()),
    ]
    odds = np.array([4.0, 1.5]) ** [0.25, 0.75]
    torch.testing.assert_close(
        CategoricalPredictive.pool(parts, np.log([0.25, 0.75])).probs[0, 0].item(), odds.prod() / (1 + odds.prod())
    )
    torch.testing.assert_close(CategoricalPredictive.pool(parts * 2).probs, CategoricalPredictive.pool(parts).probs)


def table(n_classes, n=150, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype("f4")
    signal = X[:, 0] + np.sign(X[:, 1]) + 0.2 * rng.normal(size=n)
    y = (signal - signal.mean()) / signal.std()
    if n_classes:
        y = np.digitize(signal, np.quantile(signal, np.arange(1, n_classes) / n_classes))
    return Labelled(X, np.zeros(3, int), y, n_classes)


def voice_of(kind, labelled):
    companion = KINDS["trees"].fit(labelled, 0)
    if kind == "points":
        return PointVoice("trees", companion, labelled, companion.context_NS[:, 0], 64, np.empty(0))
    if labelled.n_classes is None:
        return NumberVoice(companion, labelled, companion.answers_NB, 64, np.empty(0))
    return ClassVoice("trees", companion, labelled, companion.context_NS)


@pytest.mark.parametrize(("kind", "n_classes"), VOICES)
def test_a_label_never_reaches_what_its_own_row_is_told(kind, n_classes):
    before = table(n_classes)
    y = before.y_N.copy()
    y[7] = (y[7] + 1) % n_classes if n_classes else y[7] + 1.5
    after = Labelled(before.cells_NF, before.n_levels_F, y, n_classes)
    first, second = (voice_of(kind, one) for one in (before, after))
    # The temperature, the spread, and the errors of other rows, are the one thing that all labels share.
    if n_classes:
        second.temperature = first.temperature
        shown = [voice._log_shares(voice._companion.context_NS[7:8]) for voice in (first, second)]
    elif kind == "points":
        second = PointVoice("same", first._companion, after, first._companion.context_NS[:, 0], 64, np.empty(0))
        shown = [np.exp(voice.out_of_context(first.spread)[7]) for voice in (first, second)]
    else:
        assert first.spread == second.spread
        shown = [voice.context[7] for voice in (first, second)]
    np.testing.assert_allclose(*shown, atol=1e-5)
    assert np.abs(first.context - second.context).max() > 1e-3


@pytest.mark.parametrize(("kind", "n_classes"), VOICES)
def test_a_voice_is_as_good_in_the_context_as_among_queries(kind, n_classes):
    both = table(n_classes, 600)
    labelled = Labelled(both.cells_NF[:300], both.n_levels_F, both.y_N[:300], n_classes)
    voice = voice_of(kind, labelled)
    asked = voice(both.cells_NF[300:]).numpy()
    at = both.y_N if n_classes else np.searchsorted(EDGES, both.y_N)
    inside = voice.context[np.arange(300), at[:300]]
    outside = asked[np.arange(300), at[300:]]
    assert abs(inside.mean() - outside.mean()) < 4 * np.hypot(inside.std(), outside.std()) / np.sqrt(300)
    np.testing.assert_allclose(np.logaddexp.reduce(asked, 1), 0, atol=0.01)


def test_errors_around_an_answer_are_those_of_normal_noise():
    """An oracle: a companion that knows the mean, and noise of .5; and copies that count as one row of their weight."""
    rng = np.random.default_rng(4)
    mean_N = rng.normal(size=4_000)
    y_N = mean_N + 0.5 * rng.normal(size=4_000)
    cells_NF = mean_N[:, None].astype("f4")
    labelled = Labelled(cells_NF, np.zeros(1, int), y_N, None)
    voice = PointVoice("known", lambda rows_MF: rows_MF, labelled, cells_NF[:, 0], 64, np.empty(0))
    exact = normal_masses(mean_N[:50], 0.5)
    assert np.abs(np.exp(voice(cells_NF[:50]).numpy()) - np.exp(exact)).max() < 0.03
    few = labelled.take(np.arange(60))
    weight_N = rng.integers(1, 4, size=60)
    rows = np.repeat(np.arange(60), weight_N)
    copies = Labelled(cells_NF[rows], few.n_levels_F, y_N[rows], None, rows)
    weighted = Labelled(few.cells_NF, few.n_levels_F, few.y_N, None, None, weight_N / weight_N.mean())
    said = [PointVoice("known", None, one, one.cells_NF[:, 0], 64, np.empty(0)) for one in (copies, weighted)]
    np.testing.assert_allclose(said[0].context, said[1].context[rows], atol=1e-6)


@pytest.mark.parametrize("atoms", [[], [-2.0], [-2.0, 0.4]])
@pytest.mark.parametrize("size", [1, 2, 10, 60])
def test_of_copies_with_another_label_none_tells_its_own(size, atoms):
    """Of copies a tenth of the pairs may differ in their labels (`icl.tables.repeats`)."""
    one = table(None, 120)
    group_N = np.arange(120) // size
    cells_NF = one.cells_NF[group_N * size]
    shown_NT = cells_NF[:, :1]
    y_N = one.y_N[group_N * size]
    said = []
    for label in (-2.0, 0.4, 5.0):
        y_N[7] = label
        labelled = Labelled(cells_NF, one.n_levels_F, y_N.copy(), None, group_N)
        voice = PointVoice("known", None, labelled, shown_NT[:, 0], 64, np.array(atoms))
        said.append(np.exp(voice.out_of_context(0.3)))
        np.testing.assert_allclose(said[-1].sum(1), 1, atol=0.01)
    for other in said[1:]:
        np.testing.assert_allclose(other[group_N == group_N[7]], said[0][group_N == group_N[7]], atol=1e-4)


def test_atoms_around_an_answer_are_as_likely_as_they_were():
    """An oracle: amounts that are 0 by a probability that a companion's answer knows, and else normal noise."""
    rng = np.random.default_rng(5)
    answer_N = rng.uniform(-1.5, 1.5, size=6_000)
    zero_N = rng.random(6_000) < 1 / (1 + np.exp(3 * answer_N))
    y_N = np.where(zero_N, 0.0, answer_N + 0.3 * rng.normal(size=6_000))
    cells_NF = answer_N[:, None].astype("f4")
    labelled = Labelled(cells_NF, np.zeros(1, int), y_N, None)
    voice = PointVoice("known", lambda rows_MF: rows_MF, labelled, cells_NF[:, 0], 64, np.zeros(1))
    asked = np.array([[-1.2], [0.0], [1.2]], "f4")
    masses = np.exp(voice(asked).numpy())
    np.testing.assert_allclose(masses[:, -1], 1 / (1 + np.exp(3 * asked[:, 0])), atol=0.06)
    np.testing.assert_allclose(masses.sum(1), 1, atol=0.01)
    exact = np.exp(normal_masses(asked[:, 0], 0.3)) * (1 - masses[:, -1:])
    assert np.abs(masses[:, :-1] - exact).max() < 0.03


def test_copies_that_disagree_about_atoms_leave_no_nan():
    """Repeated rows whose labels are two atoms: no error beside atoms is theirs to leave out."""
    one = table(None, 120)
    group_N = np.arange(120) // 2
    y_N = one.y_N.copy()
    y_N[:60] = np.tile([0.0, 1.0], 30)
    cells_NF = one.cells_NF[2 * group_N]
    labelled = Labelled(cells_NF, one.n_levels_F, y_N, None, group_N)
    voice = PointVoice("known", lambda rows_MF: rows_MF, labelled, cells_NF[:, 0], 64, np.array([0.0, 1.0]))
    for said in (voice.context, voice(cells_NF).numpy()):
        np.testing.assert_allclose(np.exp(said).sum(1), 1, atol=0.01)


@pytest.mark.parametrize("n", [60, 120])
def test_a_line_is_followed_exactly_and_beyond_the_labelled_targets(n):
    """The network reads a line from few rows with errors of its own; the blend has the regression speak for itself."""
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n + 200, 4))
    y = X @ [3.0, -2.0, 1.0, 0.5] + 100
    X[n:] *= 1.3
    y[n:] = X[n:] @ [3.0, -2.0, 1.0, 0.5] + 100
    model, alone = (ICLRegressor("nano", companions=c).fit(X[:n], y[:n]) for c in ("auto", ()))
    off = [np.mean((m.predict(X[n:]) - y[n:]) ** 2) / y[n:].var() for m in (model, alone)]
    assert off[0] < 0.5 * off[1] and off[0] < (0.06 if n == 60 else 0.004)
    beyond = y[n:] > y[:n].max()
    assert beyond.sum() > 3 and model.predict(X[n:])[beyond].max() > y[:n].max()


def test_whole_numbers_are_as_likely_as_the_errors_that_lead_to_them():
    """An oracle: rounded normal noise about an answer. As often as where answers were alike would be far too wide."""
    rng = np.random.default_rng(6)
    answer_N = rng.uniform(-2, 2, size=3_000)
    atoms = np.arange(-3, 3.05, 0.1)
    y_N = np.clip(np.round(answer_N + 0.08 * rng.normal(size=3_000), 1), -3, 3)
    labelled = Labelled(answer_N[:, None].astype("f4"), np.zeros(1, int), y_N, None)
    voice = PointVoice("known", lambda rows_MF: rows_MF, labelled, answer_N, 64, atoms)
    masses = np.exp(voice(np.array([[0.52]], "f4")).numpy())[0]
    exact = np.diff(norm.cdf(np.append(atoms - 0.05, 3.05), 0.52, 0.08))
    np.testing.assert_allclose(masses.sum(), 1, atol=0.01)
    np.testing.assert_allclose(masses[65 - 1 :], exact, atol=0.04)
    assert masses[:64].sum() < 0.01


def test_far_cells_count_in_a_line_that_goes_on_so_far_and_in_no_other():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(150, 3)).astype("f4")
    X[:2, 0] = 40, 60
    line = (X[:, 0] + X[:, 1]).astype(float)
    for y, error in ((line, 1e-3), (np.where(X[:, 0] > 9, 0.0, line), 0.1)):
        made = RidgeColumns(X, np.zeros(3, int), (y - y.mean()) / y.std(), None)
        others = X[:, 0] < 9
        gone = (made.context_NS[others, 0] * y.std() + y.mean() - y[others]) ** 2
        assert gone.mean() < error * y[others].var()
