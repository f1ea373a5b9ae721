"""What `icl estimate` is asked for: a field is an option of the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, OpenUnitInterval, PositiveInt

from icl.commands.options import OF_MODEL, ModelOptions, refuse_idle
from icl.tables.reading import read_words


@dataclass(frozen=True)
class Request(ModelOptions):
    """Options of `icl estimate`."""

    estimand: str = "mean"
    """What to estimate: "mean", "share: answer = yes", "shares: party", "median", "quantile: 0.9",
    "ols: y ~ x1 + C(x2)", "logistic: ...", "firth logistic: ...", "poisson: ...", "multinomial: ...", "probit: ...",
    "effect: y ~ treat + x", "gini: y", "cvar: 0.9: y", "survival: 365: days, died", "cox: days, died ~ x",
    "2sls: y ~ x1 + x2, x1=instrument";
    "mean: income by region" gives the mean of each group."""
    outcome: str | None = None
    """Column of the outcome, if the estimand does not name it."""
    event: str | None = None
    """Value of the outcome that counts as 1, for shares and logistic regression."""
    unlabeled: str | None = None
    """File with the unlabeled rows, if they are not in the table."""
    predictor: str = "icl"
    """Who predicts: icl (our in-context model), rf (a random forest), both ("icl,rf", combined into one) or none
    (labeled rows only)."""
    predictions: tuple[str, ...] | str = ()
    """Instead of a predictor, the column that holds out-of-sample predictions. Several, separated by commas (a name
    with a comma in double quotes): of one outcome, which are combined into one, or the probabilities of its classes, in
    their order."""
    features: tuple[str, ...] | str = ()
    """Columns that the predictor may see, separated by commas; default: all but the outcome and what names rows."""
    weight: str = "auto"
    """Of the predictions: auto (shrunk), shrunk, ppi++, synsurr, coordinate, matrix, recalibrated, or a number (0:
    labeled rows only, 1: PPI)."""
    probability: str | None = None
    """Column with the known probability of each row to be labeled."""
    strata: str | None = None
    """Column of strata, within which labels were drawn at random."""
    clusters: str | None = None
    """Column of clusters, whose rows depend on one another."""
    row_weights: str | None = None
    """Column of survey weights."""
    shift: Literal["none", "covariate", "label"] = "none"
    """How the unlabeled rows, whom the answer is then about, differ from the labeled ones as a population: covariate,
    or label (other shares of the classes; for "shares: party" and "share: answer = yes")."""
    missing: Literal["refuse", "impute", "patterns"] = "refuse"
    """Rows that lack a covariate: refuse them; impute, 20 times by the in-context model, and pool (the predictor is
    then fitted for each of the 20 tables); or patterns, which trusts no imputation and takes no predictor."""
    equalize: str | None = None
    """Of a disparity: the column of scores that each group gets a threshold on, so that the disparity falls within
    `bound`. Half of the labels choose the thresholds; the answer is what remains, by the other half."""
    bound: ClosedUnitInterval | None = None
    """Largest difference between two groups that `equalize` aims at; default: 0.02."""
    level: OpenUnitInterval = 0.95
    """Coverage of the confidence intervals, a fraction."""
    folds: PositiveInt = 5
    """Folds of the cross-fitting."""
    output: tuple[str, ...] | str = ()
    """Files to write too, separated by commas: .json, .csv, .md or .html; - for JSON on the standard output.
    In CSV, names that a spreadsheet would calculate (= + - @ and no number) get an apostrophe."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("features", "output", "predictions"):
            object.__setattr__(self, name, read_words(getattr(self, name)))

        self._refuse_idle()

    def _refuse_idle(self) -> None:
        """ValueError for options that would do nothing beside others."""
        if self.equalize is None:
            refuse_idle("without --equalize", **self.beside_defaults("bound"))
        if self.missing == "patterns":
            named = [] if self.predictor == "none" else ["predictor"]  # none is what it takes
            refuse_idle("with --missing patterns", **self.beside_defaults(*named, "weight", *OF_MODEL))
        elif self.predictions:
            refuse_idle("beside --predictions", **self.beside_defaults("predictor", "features", *self._of_model))
        elif "icl" not in read_words(self.predictor):
            refuse_idle(f"with --predictor {self.predictor}", **self.beside_defaults(*self._of_model))

    @property
    def _of_model(self) -> list[str]:
        """Options that say how the in-context model predicts."""
        return [name for name in OF_MODEL if not (name == "checkpoint" and self.missing == "impute")]

    @property
    def named_columns(self) -> set[str | None]:
        """Columns that the options name."""
        named = {self.probability, self.strata, self.clusters, self.row_weights, self.equalize}
        return named.union(self.features, self.predictions)
