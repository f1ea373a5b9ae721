"""Effects: one model wrong at a time, trials with good and useless predictions, peers on the same rows."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from benchmarks.estimands.case import Answers, Case, answer, normal, with_methods
from icl.inference import Design, Effect

FOREST = partial(RandomForestRegressor, 25, min_samples_leaf=5, random_state=0)
TREES = partial(RandomForestClassifier, 25, min_samples_leaf=5, random_state=0)


def confounded(rng, n: int, curved: bool = False, missing: bool = False) -> pd.DataFrame:
    """Five covariates; treatment and outcome follow the first two; effect 1 + .5 x1, 1 on average."""
    X = rng.normal(size=(n, 5))
    a, b = X[:, 0], X[:, 1]
    p = 1 / (1 + np.exp(-(0.6 * a - 0.4 * b)))
    t = (rng.random(n) < p) * 1
    base = np.sin(2 * a) + b**2 if curved else a + b
    y = base + t * (1 + 0.5 * a) + rng.normal(size=n)
    if missing:
        y = np.where(rng.random(n) < 1 / (1 + np.exp(-(0.8 + 0.6 * a))), y, np.nan)
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(5)]).assign(t=t, y=y)


def models(rng, n, outcome, treatment, missing=False) -> Answers:
    table = confounded(rng, n, missing=missing)
    design = Design(propensity=LogisticRegression()) if missing else None
    estimand = Effect("y", "t", [f"x{j}" for j in range(5)], propensity=treatment)
    names = {"": "aipw", "ipw": "ipw", "difference in means": "difference in means (invalid)"}
    return with_methods(1.0, names, estimand, table, predictor=outcome, design=design, folds=5)


def trial(rng, n, rho, share) -> Answers:
    """Predictions that correlate with the outcome at rho within arms."""
    f, e = rng.normal(size=(2, n))
    t = (rng.random(n) < share) * 1
    y = rho * f + np.sqrt(1 - rho**2) * e + t
    table = pd.DataFrame({"y": y, "t": t, "f": f})
    estimand = Effect("y", "t", ["f"], randomised=share)
    names = {"": "shrunk (auto)", "classical": "difference in means", "aipw": "aipw"}
    return with_methods(1.0, names, estimand, table, predictions="f")


def peers(rng, n) -> Answers:
    table = confounded(rng, n, curved=True)
    names = [f"x{j}" for j in range(5)]
    estimand = Effect("y", "t", names, propensity=TREES())
    out = {"ours, forests": answer(1.0, estimand, table, predictor=FOREST(), folds=2)}
    y, t, X = (table[c].to_numpy(dtype=float) for c in ("y", "t", names))
    try:
        import doubleml

        start = time.perf_counter()
        data = doubleml.DoubleMLData.from_arrays(X, y, t)
        model = doubleml.DoubleMLIRM(data, FOREST(), TREES(), n_folds=2).fit()
        out["DoubleML, forests"] = normal(1.0, model.coef[0], model.se[0]) | {"seconds": time.perf_counter() - start}
    except ImportError:
        pass
    try:
        from econml.dr import LinearDRLearner

        start = time.perf_counter()
        learner = LinearDRLearner(
            model_regression=FOREST(), model_propensity=TREES(), cv=2, random_state=0, min_propensity=0.01
        ).fit(y, t, X=None, W=X)
        inference = learner.ate_inference(X=None)
        out["EconML, forests"] = normal(1.0, float(inference.mean_point), float(inference.stderr_mean))
        out["EconML, forests"]["seconds"] = time.perf_counter() - start
    except ImportError:
        pass
    return out


def nano(rng, n) -> Answers:
    from icl import ICLRegressor

    table = confounded(rng, n, curved=True)
    predictor = ICLRegressor(checkpoint="nano", n_estimators=1)
    estimand = Effect("y", "t", [f"x{j}" for j in range(5)])
    return {"ours, nano": answer(1.0, estimand, table, predictor=predictor, folds=2)}


def _cases():
    group = "Effects"
    right, wrong = (LinearRegression(), LogisticRegression()), (DummyRegressor(), DummyClassifier())
    yield Case(group, "outcome model wrong, n = 200", partial(models, n=200, outcome=wrong[0], treatment=right[1]))
    yield Case(group, "treatment model wrong, n = 200", partial(models, n=200, outcome=right[0], treatment=wrong[1]))
    yield Case(group, "both models right, n = 200", partial(models, n=200, outcome=right[0], treatment=right[1]))
    both = {"outcome": right[0], "treatment": right[1]}
    yield Case(group, "a third of the outcomes missing, n = 500", partial(models, n=500, missing=True, **both))
    for n, rho, share in ((60, 0.0, 0.5), (60, 0.7, 0.5), (200, 0.7, 0.3)):
        name = f"trial, n = {n}, {share:.0%} treated, correlation {rho}"
        yield Case(group, name, partial(trial, n=n, rho=rho, share=share))
    yield Case("Effects beside peers (curved outcome)", "n = 300, 2 folds", partial(peers, n=300), 200)
    yield Case("Effects beside peers (curved outcome)", "nano, 2 folds, n = 200", partial(nano, n=200), 100)


CASES = [*_cases()]
