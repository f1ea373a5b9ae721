"""The one engine: theta = beta + W (eta_elsewhere - eta_labeled), with its covariance.

beta is the answer from the labeled outcomes; eta is the same estimator fed with predictions. Every estimator of the
family is a choice of W and of the rows of eta_elsewhere: 0 is classical, 1 is PPI, a tuned scalar PPI++, one for each
coefficient PSPA, a matrix Chen-Chen, the partial regression coefficient with eta on all rows SynSurr. Derivations:
Angelopoulos et al. (2023), Science 382:669; arXiv:2311.01453; Miao et al. (2023), arXiv:2311.14220; Chen & Chen (2000),
doi:10.1111/1467-9868.00243; McCaw et al. (2024), doi:10.1038/s41588-024-01793-9.
"""

from __future__ import annotations

import numpy as np

from icl.inference.engine.answer import Rectified
from icl.inference.engine.contributions import Contributions
from icl.inference.engine.covariance import covariance_and_df
from icl.inference.engine.freedom import degrees_of_freedom, unevenness
from icl.inference.engine.shares import charge_without_events
from icl.inference.engine.shrink import settle_weight
from icl.inference.engine.weights import Weight


def rectify(parts: Contributions, weight: str | float) -> Rectified:
    """Estimate and covariance under `weight`.

    Labeled rows contribute y - W f, so W = 0 is the textbook sandwich. A tuned weight is itself estimated from the
    labeled outcomes: what each of them adds through the weight joins its contribution. Without that term 90% intervals
    of a slope covered .86 instead of .89 (n = 30, N = 400, heteroskedastic, correlation .7, 1,500 repetitions).
    """
    problem, beta = parts.problem, parts.labeled_y
    if weight == 0:
        covariance, df_terms = covariance_and_df(parts, Weight("classical", np.zeros((len(beta.estimate),) * 2)), None)
        covariance = charge_without_events(parts.shares, covariance)
        df = degrees_of_freedom(parts, False) if df_terms is None else float(df_terms.min())
        return Rectified("classical", beta.estimate, covariance, df, 0.0, df_terms=df_terms)
    W = settle_weight(parts, weight)
    estimate = beta.estimate + W.W @ parts.gap(W.pooled)
    covariance, df_terms = covariance_and_df(parts, W, parts.elsewhere(W.pooled))
    covariance = charge_without_events(parts.shares, covariance)
    if problem.reference == "t":
        worth = degrees_of_freedom(parts, W.costs) if df_terms is None else df_terms
        terms = np.maximum(np.broadcast_to(worth * unevenness(parts, W), estimate.shape), 1)
        df_terms = None if df_terms is None and np.ptp(terms) == 0 else terms
        df = float(terms.min())
    else:
        df = degrees_of_freedom(parts, W.costs)
    heaviest = 0.0 if W.leverage is None else float(W.leverage.max())
    return Rectified(W.name, estimate, covariance, df, W.value, W.tuned, not W.is_defined, heaviest, df_terms=df_terms)
