"""A few labels, many predictions, an interval that holds: average disease progression from 60 labelled patients.

python examples/estimate.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_diabetes

from icl import ICLRegressor
from icl.inference import OLS, Mean, infer


def main() -> None:
    table = load_diabetes(as_frame=True).frame
    truth = table.target.mean()
    hidden = np.random.default_rng(0).permutation(len(table))[60:]
    table.loc[hidden, "target"] = np.nan  # a missing outcome is an unlabelled row

    for estimand in (Mean("target"), OLS("target ~ bmi + bp")):
        result = infer(estimand, table=table, predictor=ICLRegressor(), seed=0)
        print(result.summary(), result.compare().round(2).to_string(), sep="\n\n", end="\n\n")
    print(f"mean of all {len(table)} labels: {truth:.2f}")


if __name__ == "__main__":
    main()
