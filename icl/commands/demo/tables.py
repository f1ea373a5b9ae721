"""The real tables of the demonstration. All come with scikit-learn, so nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RealTable:
    """Features X and outcome y of one table; `y.name` is the outcome's column name."""

    name: str
    about: str
    X: pd.DataFrame
    y: pd.Series
    is_classification: bool
    context_sizes: Sequence[int]

    @property
    def frame(self) -> pd.DataFrame:
        """Features and outcome together, as a person would have them."""
        return self.X.assign(**{str(self.y.name): self.y})


def breast_cancer() -> RealTable:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    y = data.target.map(dict(enumerate(map(str, data.target_names)))).rename("diagnosis")
    X = data.data.rename(columns=lambda name: name.replace(" ", "_"))
    return RealTable("breast cancer", "569 tumours, 30 measurements of cell nuclei; which are malignant?", X, y, True,
                     (60, 200))  # fmt: skip


def wine() -> RealTable:
    from sklearn.datasets import load_wine

    data = load_wine(as_frame=True)
    y = data.target.map({0: "cultivar 1", 1: "cultivar 2", 2: "cultivar 3"}).rename("cultivar")
    return RealTable(
        "wine", "178 wines, 13 chemical measurements; which of three cultivars?", data.data, y, True, (60,)
    )


def wine_alcohol() -> RealTable:
    from sklearn.datasets import load_wine

    data = load_wine(as_frame=True).data
    X, y = data.drop(columns="alcohol"), data["alcohol"]
    return RealTable("wine: alcohol", "178 wines, 12 chemical measurements; how much alcohol?", X, y, False, (60,))


def diabetes() -> RealTable:
    from sklearn.datasets import load_diabetes

    names = {"bp": "blood_pressure", "s1": "cholesterol", "s2": "ldl", "s3": "hdl", "s4": "cholesterol_per_hdl",
             "s5": "log_triglycerides", "s6": "glucose"}  # fmt: skip
    data = load_diabetes(as_frame=True, scaled=False)
    X, y = data.data.rename(columns=names), data.target.rename("progression")
    return RealTable("diabetes", "442 patients, 10 measurements; how far has the disease gone a year later?", X, y,
                     False, (60, 200))  # fmt: skip


def all_tables() -> list[RealTable]:
    """Classification first."""
    return [breast_cancer(), wine(), diabetes(), wine_alcohol()]
