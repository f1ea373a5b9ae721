"""Predictions plus a few real labels give estimates with valid intervals.

    from icl.inference import infer, Mean, OLS
    result = infer(OLS("income ~ age + C(sex)"), table=df, predictor=model)   # a missing income = an unlabeled row
    print(result.summary())

NumPy, SciPy, pandas, formulaic and scikit-learn only; importing this package loads NumPy alone.
"""

from icl.inference.combine import combine_estimates
from icl.inference.design import Design
from icl.inference.diagnostics import Diagnostic
from icl.inference.entry import infer
from icl.inference.estimands import OLS, Estimand, Logistic, Mean, MEstimand, Multinomial, Poisson, Quantile, Statistic
from icl.inference.hypothesis import WaldTest
from icl.inference.plan import Choice, Plan, choose, plan
from icl.inference.result import InferenceResult
from icl.inference.surrogate import Surrogate, cross_fit
from icl.inference.synsurr import SynSurrFit, fit_synsurr

__all__ = [
    "OLS",
    "Choice",
    "Design",
    "Diagnostic",
    "Estimand",
    "InferenceResult",
    "Logistic",
    "MEstimand",
    "Mean",
    "Multinomial",
    "Plan",
    "Poisson",
    "Quantile",
    "Statistic",
    "Surrogate",
    "SynSurrFit",
    "WaldTest",
    "choose",
    "combine_estimates",
    "cross_fit",
    "fit_synsurr",
    "infer",
    "plan",
]
