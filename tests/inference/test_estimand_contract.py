"""Laws that every estimand obeys under every weight. Estimands come from the registry: a new one is tested unasked."""

import functools
import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from icl.inference import OLS, Cox, Design, Estimand, Mean, TwoStage, infer
from icl.inference.estimands.registry import example_table, registered

OUTCOMES = ["y", "event", "count", "level"]
EXAMPLES = {f"{kind.__name__}-{e.estimand}": e for kind in registered() for e in kind.examples()}
SCORES = {name: e for name, e in EXAMPLES.items() if e.estimand.solver == "scores"}
SMOOTH = {name: e for name, e in EXAMPLES.items() if e.estimand.solver != "inversion"}
WEIGHTS = ["auto", "ppi++", "coordinate", "matrix", 0, 1, 0.3]
TABLE = example_table()


def analyse(example, table=TABLE, **options):
    return infer(example.estimand, table, predictions=example.predictions, **options)


@functools.cache
def known(name, weight):
    """The analysis of the table as it stands, which many laws compare with: the same for each."""
    return analyse(EXAMPLES[name], weight=weight)


@functools.cache
def classical_of(name):
    return infer(EXAMPLES[name].estimand, TABLE)


def numbers(result) -> np.ndarray:
    return result.to_frame(null=0.4).drop(columns="term").to_numpy()


def test_every_estimand_has_an_example():
    import icl.inference

    public = {v for v in vars(icl.inference).values() if isinstance(v, type) and issubclass(v, Estimand)}
    assert set(registered()) == public - {Estimand}
    assert all(kind.examples() for kind in registered())


@pytest.mark.parametrize("name", EXAMPLES)
def test_shapes_and_names_fit(name):
    estimand, labeled = EXAMPLES[name].estimand, TABLE[:120]
    estimand = estimand.resolve(labeled)
    X_labeled, X_unlabeled, columns = estimand.designs(labeled, TABLE[120:])
    assert X_labeled.shape == (120, len(columns)) and X_unlabeled.shape == (600, len(columns))
    y = estimand.outcome(labeled)
    assert y.shape == (120,) if y.ndim == 1 else y.shape == (120, estimand.n_responses)
    result = analyse(EXAMPLES[name])
    assert list(result.estimate.index) == estimand.parameters(columns) and str(estimand) in result.summary()
    assert np.isfinite(numbers(result)).all() and (result.std_error > 0).all()
    assert_allclose(result.covariance, result.covariance.T)


@pytest.mark.parametrize("name", EXAMPLES)
def test_missing_columns_are_named(name):
    estimand = EXAMPLES[name].estimand
    for column in {*estimand.outcome_columns, *estimand.covariate_columns}:
        with pytest.raises(ValueError, match=column):
            infer(estimand, TABLE.drop(columns=column))


@pytest.mark.parametrize("name", EXAMPLES)
def test_weight_zero_is_the_answer_without_predictions(name):
    ours, classical = known(name, 0), classical_of(name)
    assert np.array_equal(numbers(ours), numbers(classical)) and ours.method == "classical"


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_row_order_and_index_are_irrelevant(name, weight):
    example = EXAMPLES[name]
    shuffled = TABLE.sample(frac=1, random_state=1)
    ours, other = known(name, weight), analyse(example, shuffled, weight=weight)
    if example.estimand.solver == "bootstrap":  # which rows a draw holds depends on their order
        assert isinstance(weight, str) or np.array_equal(ours.estimate, other.estimate)
        other = analyse(example, TABLE.set_index(shuffled.index), weight=weight)
    assert_allclose(numbers(other), numbers(ours), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, e in EXAMPLES.items() if e.has_units])
@pytest.mark.parametrize(("weight", "factor"), list(zip(WEIGHTS, itertools.cycle([1024.0, 0.5**9]))))
def test_units_of_the_outcome_carry_over(name, weight, factor):
    example = EXAMPLES[name]
    predictions = [example.predictions] if isinstance(example.predictions, str) else example.predictions
    columns = [*example.estimand.outcome_columns, *predictions]
    ours = known(name, weight)
    other = analyse(example, TABLE.assign(**{c: factor * TABLE[c] for c in columns}), weight=weight)
    assert_allclose(other.estimate, factor * ours.estimate, rtol=1e-6)
    assert_allclose(other.std_error, factor * ours.std_error, rtol=1e-6)
    assert_allclose(other.interval(), factor * ours.interval(), rtol=1e-6)
    assert_allclose(other.p_value(), ours.p_value(), rtol=1e-6)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("alternative", ["two-sided", "larger", "smaller"])
def test_interval_and_p_value_are_dual(name, weight, alternative):
    result = known(name, weight)
    steps = EXAMPLES[name].estimand.solver != "scores"  # at the edge the null survives, beyond it the null falls
    for side, outwards in (("lower", -np.inf), ("upper", np.inf)):
        edge = result.interval(0.9, alternative)[side].to_numpy()
        if not np.isfinite(edge).all():
            assert alternative == {"lower": "smaller", "upper": "larger"}[side]
        elif steps:
            assert result.p_value(edge, alternative).iloc[0] >= 0.1 - 1e-9
            assert result.p_value(np.nextafter(edge, outwards), alternative).iloc[0] <= 0.1 + 1e-9
        else:
            assert_allclose(result.p_value(edge, alternative), 0.1, rtol=1e-8)


@pytest.mark.parametrize("name", [name for name, e in SCORES.items() if e.constants_are_silent])
@pytest.mark.parametrize("weight", ["auto", "ppi++", "coordinate", "matrix"])
def test_constant_predictions_give_the_classical_estimate(name, weight):
    """Of class probabilities, the same ones on every row."""
    example = SCORES[name]
    table = TABLE.assign(f=0.37, p=0.37, mu=0.37, q0=0.2, q1=0.3, q2=0.5)
    ours, classical = analyse(example, table, weight=weight), classical_of(name)
    assert_allclose(ours.estimate, classical.estimate, rtol=1e-7)
    assert_allclose(ours.std_error, classical.std_error, rtol=0.01)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("weight", ["auto", "ppi++", "coordinate", "matrix", 0, 1])
def test_integer_weights_are_repeated_rows(name, weight):
    """Repeated rows depend on one another, so they form clusters; then estimate and sandwich are the same."""
    example = SCORES[name]
    rng = np.random.default_rng(3)
    table = TABLE.assign(times=rng.integers(1, 4, 720), row=np.arange(720))
    table = table[table["y"].notna() | (rng.random(720) < 0.5)]
    repeated = table.loc[table.index.repeat(table["times"])]
    options = {"weight": weight, "std_error": "HC0"}
    weighted = analyse(example, table, design=Design(weights="times"), **options)
    clustered = analyse(example, repeated, design=Design(clusters="row"), **options)
    assert_allclose(weighted.estimate, clustered.estimate, rtol=1e-9, atol=1e-12)
    assert_allclose(weighted.covariance, clustered.covariance, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("name", SCORES)
def test_standard_errors_shrink_with_the_root_of_the_rows(name):
    """Every row four times, as rows: twice the precision, whatever the estimand."""
    import pandas as pd

    example = SCORES[name]
    once, often = (analyse(example, table, std_error="HC0", weight=1) for table in (TABLE, pd.concat([TABLE] * 4)))
    assert_allclose(once.std_error / often.std_error, 2, rtol=1e-6)
    assert_allclose(often.estimate, once.estimate, rtol=1e-6)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: OLS("y ~ y + x").covariate_columns,
        lambda: OLS("y ~ x + I(y**2)").covariate_columns,
        lambda: OLS("np.log(y) ~ x:y").outcome_columns,
        lambda: OLS("y", covariates=["x", "y"]),
        lambda: Mean("y", by=["x", "y"]),
        lambda: Mean(["x", "y"], by="y"),
        lambda: Cox("y", "died", "x + y").covariate_columns,
        lambda: Cox("time", "y", "x + C(y)").covariate_columns,
        lambda: TwoStage("y ~ x", {"x": "y"}).resolve(None),
    ],
)
def test_an_outcome_that_explains_itself_is_refused(ask):
    with pytest.raises(ValueError, match=r"'y' as outcome and as covariate; leave it out of the covariates"):
        ask()
