"""How the labeled rows came to be: at random, with known or estimated probabilities, in strata, in clusters.

An answer is valid for the way in which rows were chosen for labeling. Without a `Design` that is taken to be a simple
random sample of all rows (missing completely at random).

Sources: known probabilities, Zrnic & Candes (2024), arXiv:2403.03208, with the normalisation of Hajek (1971); estimated
ones, augmented inverse probability weighting, Robins, Rotnitzky & Zhao (1994), doi:10.1080/01621459.1994.10476818,
cross-fitted as in Chernozhukov et al. (2018), doi:10.1111/ectj.12097; strata, Fisch et al. (2024), arXiv:2406.04291.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from icl.inference.checks import Diagnostic, OptionalArray
from icl.inference.engine.problem import Sampling
from icl.inference.estimands.base import Estimand
from icl.inference.estimands.formula import Regression
from icl.inference.frames import is_name, levels_of, refuse_times, require_columns, with_text_names
from icl.inference.inputs.balance import balance
from icl.inference.inputs.propensity import LEAST_PROPENSITY, estimate_propensity
from icl.inference.inputs.sample import Sample

if TYPE_CHECKING:
    import pandas as pd

FEW_CLUSTERS = 20
LEAST_UNLABELED = 0.01
"""Probability of having stayed unlabeled below which a row does not count for more."""


@dataclass(frozen=True, eq=False)
class Design:
    """How rows were chosen for labeling. Each entry is a column of the table(s), or an array in the order of its rows.

    Args:
        probability: known probability of each row to be labeled, in (0, 1]. Where it depends on predictions or
            covariates (active sampling), this is what keeps the answer valid.
        propensity: a classifier that learns this probability instead, cross-fitted on all rows (`ICLClassifier()`).
            The answer is then valid if either the probabilities or the predictions are right on average given the
            features, and nothing else decided about labeling; means and least squares also if the error of the
            predictions is near a parabola in the estimated log-odds (`icl.inference.inputs.balance`). Intervals of
            regression coefficients take the estimated probabilities as known; 90% ones covered .863 to .877 where they
            were attacked (commit 0a7b393), which the finding `estimated_probabilities` says.
        features: columns that the propensity model may see; default: those that the predictor sees.
        strata: labels were drawn at random within each stratum, perhaps at different rates. The sizes of strata are
            those of a sample of the population, unless `weights` say how many members each row stands for.
        clusters: rows of one cluster depend on one another; clusters do not. Standard errors (CR2), degrees of freedom
            (fewer where few clusters decide) and the folds of cross-fitting go by clusters.
        weights: survey weight of each row: how many members of the population it stands for.
    """

    probability: str | np.ndarray | None = None
    propensity: Any = None
    features: Sequence[str] | None = None
    strata: str | np.ndarray | None = None
    clusters: str | np.ndarray | None = None
    weights: str | np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.probability is not None and self.propensity is not None:
            raise ValueError("Design got probability= and propensity=; known probabilities need no model. Pass one.")
        if self.propensity is not None and not hasattr(self.propensity, "predict_proba"):
            raise ValueError(f"propensity= got {self.propensity!r}; pass a classifier with fit and predict_proba.")
        if self.propensity is not None and self.strata is not None:
            raise ValueError(
                "Design got propensity= and strata=; give the stratum to the propensity model as a feature."
            )

    least: ClassVar[float] = LEAST_PROPENSITY
    """Share of the average to which estimated probabilities are raised."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that describe the design; a predictor does not see them unless told to."""
        return tuple(v for v in (self.probability, self.strata, self.clusters, self.weights) if is_name(v))

    @property
    def is_simple(self) -> bool:
        """A simple random sample of rows that are independent and count alike."""
        return all(getattr(self, entry.name) is None for entry in fields(self))

    @property
    def suits_batches(self) -> bool:
        """Nothing but a column of clusters, if that: what sums over batches of rows can serve."""
        others = (getattr(self, entry.name) for entry in fields(self) if entry.name != "clusters")
        return all(other is None for other in others) and (self.clusters is None or is_name(self.clusters))

    @property
    def needs_features(self) -> bool:
        """A propensity model is to be fitted, and does not bring its own list of features."""
        return self.propensity is not None and self.features is None

    @property
    def assumption(self) -> str:
        """What must be true of the labeled rows, as a sentence for the reader."""
        if self.strata is not None and self.probability is None:
            return self._assumption("that the labeled rows are a random sample within each stratum")
        return self._assumption("that the labeled rows are a random sample of all rows (missing completely at random)")

    @property
    def assumption_of_all(self) -> str:
        """The same where every row is labeled: strata then tell nothing, unless weights say how large they are."""
        if self.strata is not None and self.weights is not None:
            return self.assumption
        return self._assumption("that the labeled rows are a random sample of the population")

    def _assumption(self, rows: str) -> str:
        if self.propensity is not None:
            rows = (
                "that nothing beside the features decided which rows were labeled (missing at random), and that the "
                "estimated probabilities or the predictions are right on average given them"
            )
        elif self.probability is not None:
            rows = "that each row was labeled with the probability that was given"
        if self.weights is not None:
            rows += ", each row standing for as many members of the population as its weight says"
        if self.clusters is not None:
            rows += ", and that clusters are independent of one another"
        return rows

    @property
    def described(self) -> str:
        """What is known of each row and where it stands: "strata region, weights w"."""
        parts = {name: getattr(self, name) for name in ("probability", "strata", "clusters", "weights")}
        said = [f"{name} {value if is_name(value) else 'given'}" for name, value in parts.items() if value is not None]
        return ", ".join([*said, "propensity estimated"] if self.propensity is not None else said)

    def with_model(self, predictor: Any) -> Design:
        """This design with the model that it needs, made from the predictor, where it needs one and has none."""
        return self

    def check(self, estimand: Estimand, labeled: pd.DataFrame, predicts: bool, weight: str | float) -> None:
        """ValueError for an estimand, or a way of answering, that goes beyond what the design allows."""

    def resolve(self, sample: Sample, features: Sequence[str], folds: int, seed: int) -> ResolvedDesign:
        """Read, check and normalise. `features`: what the predictor sees."""
        if sample.stream is not None and not self.suits_batches:
            raise ValueError(
                "design= needs unlabeled= in memory, but for clusters='column': rows that come in batches count alike."
            )
        n, N = len(sample.labeled), len(sample.unlabeled)
        notes: list[Diagnostic] = []
        d = _read(self.weights, sample, "weights")
        if d is not None:
            d = _positive(d, "weights")
            d = d / d.mean()
        strata, clusters = _read(self.strata, sample, "strata"), _read(self.clusters, sample, "clusters")
        probability = None
        if self.probability is not None:
            given = _read(self.probability, sample, "probability")
            assert given is not None
            probability = _probabilities(given)
        elif self.propensity is not None:
            if not N:
                raise ValueError("propensity= needs unlabeled rows to learn from; there are none.")
            X = with_text_names(sample.columns(list(self.features or features)))
            probability, n_raised = estimate_propensity(
                self.propensity, X, n, folds, seed, _codes(clusters), self.least
            )
            if n_raised:
                notes.append(_overlap_note(n_raised, n))
        elif strata is not None:
            probability = _rates_by_stratum(strata, n)
        if probability is not None and N and np.ptp(probability) < 1e-12:
            probability = None if strata is None else probability  # a constant is no news
        weights_all = np.broadcast_to(1.0, n + N) if d is None else d  # a view: N may be large
        weights_labeled = None if d is None else d[:n]
        if probability is not None:
            weights_labeled = weights_all[:n] / probability[:n]
            weights_labeled = weights_labeled / weights_labeled.mean()
        basis = None
        if self.propensity is not None and weights_labeled is not None and probability is not None:
            weights_labeled, basis = balance(weights_labeled, probability, weights_all)
        if weights_labeled is not None:
            notes += _weight_notes(weights_labeled)
        if clusters is not None:
            notes += _cluster_notes(clusters, n)
        is_weighted = weights_labeled is not None
        strata, clusters = _codes(strata), _codes(clusters)
        sampling = Sampling(
            weights_labeled=weights_labeled,
            weights_unlabeled=weights_all[n:] if is_weighted else None,
            weights_pooled=weights_all[:n] if is_weighted else None,
            clusters_labeled=None if clusters is None else clusters[:n],
            clusters_unlabeled=None if clusters is None else clusters[n:],
            strata_labeled=None if strata is None else strata[:n],
            strata_unlabeled=None if strata is None else strata[n:],
            knows_strata=d is not None,
            pools=probability is not None,
        )
        inclusion = np.broadcast_to(n / (n + N), n + N) if probability is None else probability
        named = self.clusters if is_name(self.clusters) else None
        return ResolvedDesign(sampling, inclusion, tuple(notes), basis, named)


@dataclass(frozen=True, eq=False)
class ResolvedDesign:
    """A design as the engine needs it, and what it says about each row."""

    sampling: Sampling
    inclusion: np.ndarray
    """(n + N,) probability of each row to be labeled, labeled rows first."""
    notes: tuple[Diagnostic, ...] = ()
    balanced: OptionalArray = None
    """(n + N, k) functions of estimated probabilities whose means agree between weighted labeled rows and all rows."""

    clusters: str | None = None
    """Column that names them."""

    @property
    def of_population(self) -> np.ndarray | None:
        """(N,) weights with which unlabeled rows alone stand for the population; None for equal ones."""
        w = self.sampling.weights_unlabeled
        if not self.sampling.pools or w is None:
            return w
        return w / np.maximum(1 - self.inclusion[-len(w) :], LEAST_UNLABELED) if len(w) else w


def _read(entry: str | np.ndarray | None, sample: Sample, name: str) -> np.ndarray | None:
    """(n + N,) values, labeled rows first."""
    if entry is None:
        return None
    if is_name(entry):
        for part, which in ((sample.labeled, "labeled rows"), (sample.unlabeled, "unlabeled rows")):
            if len(part):
                require_columns(part, [entry], which, f"as {name} of the design")
        values, what = sample.column(entry), f"column {entry!r}"
    else:
        what = f"{name}= of the design"
        values = np.asarray(sample.in_order_of_rows(entry, what))
        if values.shape != (len(sample.order),):
            raise ValueError(
                f"{what} got shape {values.shape}; expected one value for each of the {len(sample.order)} rows."
            )
        values = values[sample.order]
    import pandas as pd

    n_missing = int(pd.isna(values).sum())
    if n_missing:
        raise ValueError(f"{what} is missing on {n_missing} rows; the design must be known of every row.")
    return values


def _positive(values: np.ndarray, name: str) -> np.ndarray:
    refuse_times(values, f"{name} of the design")
    try:
        numbers = values.astype(float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} of the design must be numbers, got {values[0]!r}.") from None
    if not np.isfinite(numbers).all() or (numbers <= 0).any():
        raise ValueError(
            f"{int((~np.isfinite(numbers) | (numbers <= 0)).sum())} {name} of the design are not positive and finite."
        )
    return numbers


def _probabilities(values: np.ndarray) -> np.ndarray:
    p = _positive(values, "probabilities")
    if (p > 1).any():
        raise ValueError(f"probabilities of the design go up to {p.max():.4g}; they must lie in (0, 1].")
    return p


def _rates_by_stratum(strata: np.ndarray, n: int) -> np.ndarray:
    names, code = levels_of(strata)
    total, labeled = np.bincount(code), np.bincount(code[:n], minlength=len(names))
    few = [name for name, number in zip(names, labeled, strict=True) if number < 2]
    if few:
        raise ValueError(
            f"the strata {[str(s) for s in few[:8]]} have fewer than two labeled rows, which leaves their spread "
            "unknown. Label rows there, or merge strata."
        )
    return (labeled / total)[code]


def _codes(labels: np.ndarray | None) -> np.ndarray | None:
    return None if labels is None else levels_of(labels)[1]


def _weight_notes(weights: np.ndarray) -> list[Diagnostic]:
    """What is said of weights that leave less than half of the rows.

    Mean of y = x + e, f = x^2, probabilities .005 to .5 that rise with x, 600 rows, nominal .90: labels alone cover
    .835, the default .833 (400 repetitions; `icl.inference.engine.steady`), where other tuned weights learn the slope
    of the rows that are often labeled and are wrong beyond them (.743, of labels alone .827, 1,500 repetitions).
    """
    worth = weights.sum() ** 2 / (weights**2).sum()
    if worth > len(weights) / 2:
        return []
    return [
        Diagnostic(
            "uneven_weights",
            f"the weights of the {len(weights)} labeled rows are so uneven that these are worth {worth:.0f} equal ones "
            f"(one row has {weights.max() / weights.sum():.0%} of the weight); few rows decide the answer, and its "
            "interval may be too short: under a tuned weight other than the default more so than with weight=0.",
        )
    ]


def model_notes(design: Design, estimand: Estimand) -> list[Diagnostic]:
    """What is said of an estimand whose interval takes the estimated probabilities as known."""
    if design.propensity is None or not isinstance(estimand, Regression):
        return []
    return [
        Diagnostic(
            "estimated_probabilities",
            "the interval takes the estimated probabilities of being labeled as known: 90% intervals of regression "
            "coefficients covered .863 to .877 where that was tried. If the true ones are known, pass them with "
            "Design(probability=...); otherwise ask for a higher level than you need.",
        )
    ]


def _overlap_note(n_raised: int, n: int) -> Diagnostic:
    return Diagnostic(
        "poor_overlap",
        f"{n_raised} of {n} labeled rows look as if rows like them were hardly ever labeled; their estimated "
        f"probabilities were raised to {LEAST_PROPENSITY:.0%} of the average. Where no row of a kind is labeled, the "
        "answer rests on the predictions alone.",
    )


def _cluster_notes(clusters: np.ndarray, n: int) -> list[Diagnostic]:
    n_clusters = len(levels_of(clusters[:n])[0])
    if n_clusters < 2:
        raise ValueError(
            f"all {n} labeled rows lie in the one cluster {str(clusters[0])!r}, so nothing shows how clusters differ. "
            "Label rows of more clusters, or leave clusters= out if rows are independent."
        )
    if n_clusters >= FEW_CLUSTERS:
        return []
    return [
        Diagnostic(
            "few_clusters",
            f"the labeled rows come from {n_clusters} clusters; standard errors from fewer than about {FEW_CLUSTERS} "
            "are rough. Label rows of more clusters.",
        )
    ]
