"""What imputing and generating will take: told before, from the fits and passes that they make."""

import numpy as np
import pandas as pd
import pytest

import icl
from icl.joint import chains
from icl.joint.synthetic import chain


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame(rng.normal(size=(80, 3)), columns=list("abc"))
    numbers["level"] = rng.choice(["x", "y", "z"], 80)
    return numbers.mask(rng.random((80, 4)) < [0.0, 0.2, 0.3, 0.1])


def counted(monkeypatch, module):
    calls = []

    def fit(*args, **options):
        calls.append(options["model"])
        return found(*args, **options)

    found = module.fit_column
    monkeypatch.setattr(module, "fit_column", fit)
    return calls


@pytest.mark.parametrize("budget", [4e6, 0])
def test_imputation_makes_the_fits_that_were_told(table, tiny_release, monkeypatch, budget):
    options = {"m": 3, "rounds": 2, "budget": budget, "checkpoint": str(tiny_release)}
    told, calls = icl.imputation_time(table, **options), counted(monkeypatch, chains)
    icl.impute(table, **options)
    assert told.fits == len(calls) and set(calls) == {"network" if budget else "quick"}
    assert (told.network > 0) == bool(budget) and str(told).startswith("about ")


def test_generation_makes_the_fits_that_were_told(table, tiny_release, monkeypatch):
    options = {"rows": 30, "orders": 2, "checkpoint": str(tiny_release)}
    told, calls = icl.generation_time(table, **options), counted(monkeypatch, chain)
    icl.generate(table, **options)
    assert told.fits == len(calls)
    given, calls[:] = icl.generation_time(table, given=["a"], **options), []
    icl.generate(table, given={"a": 0.5}, **options)
    assert given.fits == len(calls) == told.fits - 2 and given.seconds < told.seconds


def test_time_grows_with_what_is_drawn_only(table, tiny_release):
    name = {"checkpoint": str(tiny_release)}
    five, ten = (icl.imputation_time(table, m, **name) for m in (5, 10))
    assert ten.seconds == pytest.approx(2 * five.seconds)
    # Rows without gaps are only shown, and of them no more than some 600.
    long, longer = (pd.concat([table, *[table.dropna()] * k]) for k in (30, 60))
    assert icl.imputation_time(longer, **name).seconds == pytest.approx(icl.imputation_time(long, **name).seconds)
    few, many = (icl.generation_time(table, rows, **name) for rows in (10_000, 100_000))
    assert 5 < many.network / few.network < 15
