"""Predictions plus a few real labels give estimates with valid intervals.

    from icl.inference import infer, Mean, OLS
    result = infer(OLS("income ~ age + C(sex)"), table=df, predictor=model)   # a missing income = an unlabeled row
    print(result.summary())

NumPy, SciPy, pandas, formulaic and scikit-learn only; importing this package loads NumPy alone.
"""

from icl.inference.analysis import infer
from icl.inference.checks import Diagnostic
from icl.inference.engine.combine import combine_estimates
from icl.inference.engine.hypothesis import WaldTest
from icl.inference.engine.surrogate import Surrogate
from icl.inference.equalize import Equalized, equalize
from icl.inference.estimands import (
    OLS,
    Cloglog,
    Cox,
    Disparity,
    Distribution,
    Effect,
    Estimand,
    Gamma,
    Logistic,
    Mean,
    MEstimand,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Probit,
    Quantile,
    Shares,
    Statistic,
    Survival,
    TwoStage,
)  # fmt: skip
from icl.inference.inputs.cross_fit import cross_fit
from icl.inference.inputs.design import Design
from icl.inference.inputs.transport import Transport
from icl.inference.posterior import Posterior, posterior
from icl.inference.results.choose import Choice, choose
from icl.inference.results.groups import Groups, shrink_groups
from icl.inference.results.monitor import Monitor, monitor
from icl.inference.results.plan import Plan, plan
from icl.inference.results.result import InferenceResult
from icl.inference.synsurr import SynSurrFit, fit_synsurr

__all__ = [
    "OLS",
    "Choice",
    "Cloglog",
    "Cox",
    "Design",
    "Diagnostic",
    "Disparity",
    "Distribution",
    "Effect",
    "Equalized",
    "Estimand",
    "Gamma",
    "Groups",
    "InferenceResult",
    "Logistic",
    "MEstimand",
    "Mean",
    "Monitor",
    "Multinomial",
    "NegativeBinomial",
    "Plan",
    "Poisson",
    "Posterior",
    "Probit",
    "Quantile",
    "Shares",
    "Statistic",
    "Surrogate",
    "Survival",
    "SynSurrFit",
    "Transport",
    "TwoStage",
    "WaldTest",
    "choose",
    "combine_estimates",
    "cross_fit",
    "equalize",
    "fit_synsurr",
    "infer",
    "monitor",
    "plan",
    "posterior",
    "shrink_groups",
]
