"""Which files of ours one call enters: `python tests/entered.py` prints what ARCHITECTURE.md states."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

import icl

ROOT = Path(icl.__file__).parents[1]


def files_entered(work: Callable[[], object]) -> set[str]:
    """Files of icl/ and priors/ of which a function runs during `work`; importing one does not count."""
    found = set()

    def see(frame: FrameType, event: str, arg: object) -> None:
        if frame.f_code.co_name != "<module>":
            found.add(frame.f_code.co_filename)

    threading.settrace(see)
    sys.settrace(see)
    try:
        work()
    finally:
        sys.settrace(None)
        threading.settrace(None)
    ours = (Path(name).relative_to(ROOT).as_posix() for name in found if name.startswith(str(ROOT)))
    return {name for name in ours if name.startswith(("icl/", "priors/"))}


def journeys() -> dict[str, set[str]]:
    """Files that `fit`, `predict` and `infer` enter, each on 30 labelled rows of a table of numbers."""
    from icl.inference import OLS, infer

    table = load_diabetes(as_frame=True).frame[:120]
    X, y = table.drop(columns="target"), table["target"]
    half = table.assign(target=y.where(y.index < 30))
    model = icl.ICLRegressor(checkpoint="nano", n_estimators=1)
    model.fit(X[:30], y[:30]).predict(X[30:40])  # loads what is loaded once
    return {
        "fit": files_entered(lambda: model.fit(X[:30], y[:30])),
        "predict": files_entered(lambda: model.predict(X[30:40])),
        "infer": files_entered(lambda: infer(OLS("target ~ bmi + bp"), half, predictor=LinearRegression())),
    }


if __name__ == "__main__":
    for call, files in journeys().items():
        print(f"{call}: {len(files)}\n  " + "\n  ".join(sorted(files)))
