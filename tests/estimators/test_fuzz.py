"""Strange tables get a finite answer of the right shape, or a ValueError of ours that says what to do; nothing else."""

import re
import traceback
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from strange import COLUMNS, strange_table

import icl
from icl import ICLClassifier, ICLRegressor

N_TABLES, N_BATCHES = 240, 2
N_MORE_BATCHES = 14  # of as many tables each, in the slow run
OURS = Path(icl.__file__).parent
# What is wrong (a column by its name, the whole of X, or y) and then what to do.
SUBJECT = re.compile(r"column .+ of X |X |y |Input y |none of the \d+ columns|the columns of X|column .+ is complex")
COMPLEX = re.compile(r"Complex data not supported: (column|y)|Unknown label type: |fit requires y")
REMEDY = re.compile(
    r"\b(Pass|Replace|Drop|Convert|convert|Use|use|Rename|Add|Split|Reshape|Fit|pass)\b.{5,}", re.DOTALL
)


def answer(Estimator, model, X, y, query) -> tuple[str, object]:
    """("answered", probabilities or numbers) or ("refused", the error)."""
    try:
        estimator = Estimator(model, n_estimators=2, random_state=0).fit(X, y)
        predicted = estimator.predict_proba(query) if Estimator is ICLClassifier else estimator.predict(query)
    except ValueError as error:
        return "refused", error
    several = np.ndim(y) == 2 and np.shape(y)[1] > 1  # a chain: columns for numbers, a list for classes
    for shares in predicted if several and Estimator is ICLClassifier else [predicted]:
        if Estimator is ICLClassifier:
            assert several or shares.shape == (len(query), len(estimator.classes_))
            assert len(shares) == len(query) and np.allclose(shares.sum(axis=1), 1)
        else:
            assert shares.shape == ((len(query), np.shape(y)[1]) if several else (len(query),))
        assert np.isfinite(shares).all()
    return "answered", predicted


def check_refusal(error: ValueError) -> None:
    said = str(error)
    assert OURS in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parents, f"not ours: {said}"
    said = re.sub(r"^target \d+: ", "", said)  # of several targets, the one that is refused
    assert SUBJECT.match(said) or COMPLEX.match(said), f"does not name what is wrong: {said}"
    assert REMEDY.search(said), f"does not say what to do: {said}"


@pytest.mark.parametrize(
    "batch",
    [
        *range(N_BATCHES),
        *(pytest.param(b, marks=pytest.mark.slow) for b in range(N_BATCHES, N_BATCHES + N_MORE_BATCHES)),
    ],
)
def test_strange_tables(batch, tiny_model):
    size = N_TABLES // N_BATCHES
    outcomes = []
    for seed in range(batch * size, (batch + 1) * size):
        X, labels, target, query = strange_table(seed)
        Estimator, y = ((ICLClassifier, labels), (ICLRegressor, target))[seed % 2]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=icl.OutOfPriorWarning)
                warnings.filterwarnings("ignore", category=icl.SchemaWarning)
                outcome, value = answer(Estimator, tiny_model, X, y, query)
            if outcome == "refused":
                check_refusal(value)
        except Exception as error:
            raise AssertionError(f"strange_table({seed}), {Estimator.__name__}: {error!r}") from error
        outcomes.append(outcome)
    assert 0.4 < outcomes.count("answered") / size < 0.8  # the generator neither spares us nor draws rubbish only


def test_every_kind_of_column_is_drawn_and_most_are_answered(tiny_model):
    """Each kind beside a plain column; only those that hold infinity, or no number, may be refused, and by name."""
    refused = set()
    for kind, draw in COLUMNS.items():
        rng = np.random.default_rng(7)
        n = 40
        X = pd.DataFrame({"plain": rng.normal(size=n), "odd one": draw(rng, n)})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=icl.SchemaWarning)  # text without a copy names rows
            outcome, value = answer(ICLRegressor, tiny_model, X, rng.normal(size=n), X)
        if outcome == "refused":
            check_refusal(value)
            assert "'odd one'" in str(value)
            refused.add(kind)
    assert refused == {"infinite", "longdouble", "python integers", "complex", "odd decimals"}
