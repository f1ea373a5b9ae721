"""The effect of a treatment on an outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.estimands.base import Estimand, Example, as_numbers, as_tuple
from icl.inference.estimands.equations import CanonicalGLM
from icl.inference.estimands.families import Identity
from icl.inference.estimands.linear import Mean

if TYPE_CHECKING:
    import pandas as pd

POPULATIONS = ("everyone", "trimmed", "overlap")


@dataclass(frozen=True, eq=False)
class Effect(Estimand):
    """Mean outcome if everyone were treated, less that if nobody were: cross-fitted AIPW.

        infer(Effect("re78", "treat", ["age", "education", "re75"], kind="att"), df, predictor=ICLRegressor())
        infer(Effect("cd4", "arm", randomised=0.5), trial, predictor=ICLRegressor())

    With arms a = 0, 1, probabilities e_a(x) of an arm and predictions mu_a(x) of the outcome in it, each made by models
    that did not see the row, and weights h_a proportional to 1{A = a} / e_a that sum to one,

        theta_a = sum h_a Y + W (mean of mu_a over all rows - sum h_a mu_a),    effect = theta_1 - theta_0

    W = 1 is augmented inverse probability weighting: right if either the probabilities or the predictions are, and as
    precise as can be if both are. W = 0 is inverse probability weighting, which in a trial is the difference in means.
    In a trial (`randomised=`) probabilities are known, every W is right, and the one that is used minimises the
    variance, shrunk as far as it is chance: no wider than the difference in means, up to that chance. Rows without an
    outcome take part in the means of the predictions. Standard errors take probabilities as known, whose error is of
    second order where the predictions are right, and count in that of a logistic regression where they are wrong.

    Args:
        outcome: column; numbers, or 0 and 1. Rows without it are unlabeled.
        treatment: column of 0 and 1 or booleans, known on every row; anything if `treated` is given.
        covariates: columns by which treated and untreated rows are comparable, and that the models see; default: all
            others, less what a design names. Nothing that the treatment may have changed belongs here.
        kind: "ate" (everyone), "att" (those who were treated), or "cate by region": the effect in each group of a
            column, or of several, separated by commas.
        randomised: the known probability of treatment, a fraction or a column of them.
        where: "everyone"; "trimmed" (rows with a probability of treatment from .1 to .9); "overlap" (rows weighted by
            e (1 - e), the population about whom the data say most).
        treated: the value of the treatment column that counts as treated.
        propensity: a classifier of the treatment; default: the predictor where it classifies, or offers
            `as_classifier()`; otherwise a logistic regression.
    Source:
        Robins, Rotnitzky & Zhao (1994), doi:10.1080/01621459.1994.10476818; Chernozhukov et al. (2018),
        doi:10.1111/ectj.12097; outcomes partly missing: arXiv:2511.08303; trials: arXiv:2502.04262; Lin (2013),
        doi:10.1214/12-AOAS583; overlap weights: Li, Morgan & Zaslavsky (2018), doi:10.1080/01621459.2016.1260466;
        trimming: Crump et al. (2009), doi:10.1093/biomet/asn055.
    """

    outcome_column: str
    treatment: str
    covariates: tuple[str, ...] | None = None
    kind: str = "ate"
    randomised: float | str | None = None
    where: str = "everyone"
    treated: Any = None
    propensity: Any = None
    groups: tuple | None = None
    """Values of the grouping columns, in the order of the terms; read off the labeled rows."""

    default_std_error = "HC2"
    solver = "effect"

    def __init__(
        self,
        outcome: str,
        treatment: str,
        covariates: list[str] | tuple[str, ...] | None = None,
        kind: str = "ate",
        *,
        randomised: float | str | None = None,
        where: str = "everyone",
        treated: Any = None,
        propensity: Any = None,
        groups: tuple | None = None,
    ) -> None:
        seen = None if covariates is None else as_tuple(covariates)
        values = (outcome, treatment, seen, kind.strip(), randomised, where, treated, propensity, groups)
        for field, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, field, value)
        self._check()

    def _check(self) -> None:
        if self.kind not in ("ate", "att") and not self.by:
            raise ValueError(f"kind got {self.kind!r}; known are 'ate', 'att' and 'cate by COLUMN'.")
        if self.where not in POPULATIONS:
            raise ValueError(f"where got {self.where!r}; known are {', '.join(map(repr, POPULATIONS))}.")
        if self.kind == "att" and self.where == "overlap":
            raise ValueError("kind='att' and where='overlap' are two populations; choose one of them.")
        p = self.randomised
        if isinstance(p, (int, float)) and (isinstance(p, bool) or not 0 < p < 1):
            raise ValueError(f"randomised= got {p!r}; pass the probability of treatment, such as 0.5, or its column.")
        if self.randomised is not None and self.propensity is not None:
            raise ValueError("got randomised= and propensity=; known probabilities need no model. Pass one of them.")
        named = [self.outcome_column, self.treatment, *(self.covariates or ())]
        if len({*named}) < len(named):
            raise ValueError(f"Effect names a column twice: {named}; outcome, treatment and covariates must differ.")

    def __str__(self) -> str:
        who = {"everyone": "", "trimmed": ", where both arms occur", "overlap": ", weighted by overlap"}[self.where]
        whom = {"ate": "", "att": " on the treated"}.get(self.kind, f" by {', '.join(self.by)}")
        return f"effect of {self.treatment} on {self.outcome_column}{whom}{who}"

    @property
    def by(self) -> tuple[str, ...]:
        """Grouping columns of "cate by ..."."""
        head, _, rest = self.kind.partition(" by ")
        return tuple(name for part in rest.split(",") if (name := part.strip())) if head == "cate" else ()

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return (self.outcome_column,)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """What must be complete on every row; the predictor may see gaps in the covariates."""
        known = (self.randomised,) if isinstance(self.randomised, str) else ()
        return tuple(dict.fromkeys((self.treatment, *known, *self.by)))

    @property
    def model(self) -> CanonicalGLM:
        """Of the mean outcome: what diagnostics compare predictions and outcomes by."""
        return CanonicalGLM(Identity())

    @property
    def assumes(self) -> str:
        """What must be true beside what the design says."""
        if self.randomised is not None:
            return f"that {self.treatment} was assigned at random, with the probability that was given"
        return (
            f"that nothing beside the covariates decided both about {self.treatment} and about {self.outcome_column} "
            "(no unmeasured confounding), and that the probabilities of treatment or the predictions are right on "
            "average given them"
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example(cls("y", "treated", randomised=0.5), "f"),
            Example(cls("y", "treated", kind="att", randomised=0.5), "f"),
            Example(cls("y", "treated", kind="cate by group", randomised=0.5), "f"),
        )

    def resolve(self, labeled: pd.DataFrame) -> Effect:
        if not self.by or self.groups is not None:
            return self
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Effect(fields.pop("outcome_column"), **fields | {"groups": self._means.resolve(labeled).groups})

    @property
    def _means(self) -> Mean:
        return Mean(self.outcome_column, by=self.by or None, groups=self.groups)

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        return as_numbers(labeled[self.outcome_column], "a column of 0 and 1 for the value of interest")

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        return self._means.design(frame)

    def parameters(self, terms: list[str]) -> list[str]:
        return terms if self.by else [f"{self.treatment} ({self.kind})"]

    def in_treatment(self, column: pd.Series) -> np.ndarray:
        """(R,) whether each row was treated.

        Raises:
            ValueError: for a column that is not 0 and 1, and an arm without rows.
        """
        values = column.to_numpy()
        is_treated = values == self.treated if self.treated is not None else values == 1
        known = self.treated is not None or bool(np.isin(values, (0, 1)).all())
        if not known:
            seen = ", ".join(map(repr, list(dict.fromkeys(values.tolist()))[:6]))
            raise ValueError(
                f"the treatment {self.treatment!r} has the values {seen}; it must be 0 and 1. Pass treated=... to say "
                "which value counts as treated; for more than two arms, keep the rows of two of them."
            )
        is_treated = np.asarray(is_treated, dtype=bool)
        if is_treated.all() or not is_treated.any():
            raise ValueError(
                f"{'all' if is_treated.all() else 'no'} rows are treated ({self.treatment!r}); an effect compares two "
                "arms. Check the coding, or pass treated=."
            )
        return is_treated

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - 2 * n_terms - tuned
