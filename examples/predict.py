"""Zero-shot prediction on a mixed table: strings, missing cells, a category that fitting never saw.

python examples/predict.py
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from icl import ICLClassifier


def main() -> None:
    rng = np.random.default_rng(0)
    n = 400
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n).astype(float),
            "city": rng.choice(["Bern", "Lyon", "Oslo"], n, p=[0.5, 0.3, 0.2]),
            "income": rng.lognormal(10, 0.6, n),
        }
    )
    score = 0.05 * (table.age - 50) + (table.city == "Oslo") * 1.5 + np.log(table.income / 22_000)
    y = np.where(score + rng.logistic(0, 0.7, n) > 0, "yes", "no")
    table.loc[rng.random(n) < 0.1, "income"] = np.nan
    table.loc[399, "city"] = "Rome"  # unseen when fitting

    model = ICLClassifier().fit(table[:100], y[:100])
    p = model.predict_proba(table[100:])
    print(f"classes {model.classes_.tolist()}, ROC AUC on 300 rows: {roc_auc_score(y[100:], p[:, 1]):.3f}")
    print(table[395:].assign(p_yes=p[-5:, 1].round(3)).to_string())


if __name__ == "__main__":
    main()
