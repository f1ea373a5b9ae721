"""The last blend: how much the network counts, and how much each companion by itself.

Chosen by what they said about labelled rows out of context, and held back by a prior, as if some rows had been seen on
which the network counted for most: a few rows move little.

Dimension key: H held-out rows, V voices (the network first), C classes, K bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

# Of classes log-probabilities are averaged, those of members and of voices alike: averages of probabilities were too
# unsure, above all of many classes (110 tables: log loss .341, now .339; ECE .043, .041; benchmarks/pool.md).

# The network's share before any row is seen, and the number of rows that this is worth. Nine tables with classes: log
# loss .3471, with .85 and .95 it is .3470 and .3475, without a blend .3488 (AUC .892 and .867). Eight with numbers:
# mean R2 .4565, CRPS .3579; with .9 and 10 rows .4551 and .3585, without a blend .4510 and .3616.
OF_CLASSES, OF_NUMBERS = (0.9, 10.0), (0.7, 3.0)
# Of fewer than SOME_ROWS (`icl.prediction.companions.columns`), where ridge regressions alone speak of numbers: 57
# tables, 60 rows, two draws of them, without a blend mean R2 .4975, CRPS .3253; with these .5028 (+.0053, standard
# error .0015), .3228; with (.7, 3) .5038 (.0032), .3230.
OF_FEW_NUMBERS = (0.85, 20.0)
# Of a long context the network sees a part and companions all. With .9 in place of .6, in 19,000 and 10,183 rows,
# log loss was .2642, now .2625 (adult), and .0408, .0397 (mammography; benchmarks/long_contexts.md has others, which
# nothing was chosen on).
OF_LONG = (0.6, 10.0)
# One row may be impossible for every voice but one; it shall not decide.
_LEAST_PROBABILITY = 1e-6
# What logarithms of probabilities are divided by before any row is seen, of two classes and of more, and by how much
# that may be off, in logarithms: tables leave less open than tasks of the prior, and members that differ make a pool
# unsure. Measured with base, on which labelled rows move it (benchmarks/records/surer).
OF_TWO, OF_MORE = 1 / 1.05, 1 / 1.15
_SPREAD = 0.1
# The same of what is added to the logarithm of each class, where that is chosen.
_OFFSET = 0.2
# The temperature of each part of a mixture for a number: mixtures with voices of companions are too wide. 55 tables:
# NLL -.0096 (standard error .0017), CRPS -.0004 (.0002), R2 -.0001 (.0007); of the network alone CRPS +.0007 (.0004).
OF_MIXTURES = 0.9
# A temperature this far from 1, either way, costs half a nat in total: a few rows do not move the temperature far.
# On five tables bundled with scikit-learn (nano, 1 member, 3 splits each) that changed the mean negative log score by
# -0.006 with 30 context rows (worse by 0.047 at most) and by -0.003 with 75 (0.006); 1.5 in its place, by -0.005
# (0.090) and -0.002 (0.009).
_TYPICAL = 1.25
_FURTHEST = 4.0


@dataclass(frozen=True)
class Blend:
    """Shares of the voices, which add up to one.

    Args:
        shares: (V,) of the network's members together, then of each companion that has a voice.
        names: (V,) "network", then those of the companions.
        temperature: what logarithms of the pooled probabilities of classes are divided by, and those of the masses
            of every part of a mixture for a number.
        offsets: (C,) what is added to these then; none: nothing.
    """

    shares: tuple[float, ...] = (1.0,)
    names: tuple[str, ...] = ("network",)
    temperature: float = 1.0
    offsets: tuple[float, ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{name} {share:.0%}" for name, share in zip(self.names, self.shares))

    def log_weights(self, n_answers: int) -> np.ndarray:
        """(n_answers,) log-weight of each answer: the members', alike, and then the companions'."""
        n_members = n_answers - len(self.shares) + 1
        return np.log([*[self.shares[0] / n_members] * n_members, *self.shares[1:]])


def prior_shares(n_voices: int, network: float) -> np.ndarray:
    """(V,) shares before any row is seen; `network`: of the first voice."""
    if n_voices == 1:
        return np.ones(1)
    return np.array([network, *[(1 - network) / (n_voices - 1)] * (n_voices - 1)])


def usual_temperature(n_classes: int | None) -> float:
    """That of pooled classes, before any row is seen; 1 for a number."""
    if n_classes is None:
        return 1.0
    return OF_TWO if n_classes <= 2 else OF_MORE


def class_shares(
    log_probs_HVC: np.ndarray,
    y_H: np.ndarray,
    weight_H: np.ndarray,
    prior: tuple[float, float] = OF_CLASSES,
    with_offsets: bool = False,
) -> tuple[np.ndarray, float, np.ndarray]:
    """(V,) shares, temperature and (C,) offsets of greatest posterior density.

    The log score of the logarithmic pool, divided by a temperature and with offsets of classes, under a Dirichlet prior
    of the shares, a log-normal one of the temperature and normal ones of the offsets.

    Args:
        log_probs_HVC: what each voice gave to each class.
        y_H: the class that came true.
        weight_H: how much each row counts, 1 for a row by itself.
        prior: the network's share before any row is seen, and how many rows that is worth.
        with_offsets: whether they are chosen; else 0.
    Source:
        Satopää et al. (2014), Combining multiple probability predictions using a simple logit model: pools of
        forecasters that know different things are too unsure, so an exponent above 1 is learnt with them. Offsets:
        vector scaling, Guo et al. (2017), arXiv:1706.04599.
    """
    n_voices, n_classes = log_probs_HVC.shape[1:]
    network, n_rows = prior
    prior_V = n_rows * prior_shares(n_voices, network)
    usual = np.log(usual_temperature(n_classes))
    log_probs_HVC = np.maximum(log_probs_HVC, np.log(_LEAST_PROBABILITY))
    came_true_HC = np.eye(n_classes)[y_H]
    none_C = np.zeros(n_classes)

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        shares_V, colder = softmax(free[:n_voices]), np.exp(-free[n_voices])
        offset_C = free[n_voices + 1 :] if with_offsets else none_C
        pooled_HC = np.einsum("hvc,v->hc", log_probs_HVC, shares_V)
        log_HC = log_softmax(colder * pooled_HC + offset_C, 1)
        off = (free[n_voices] - usual) / _SPREAD
        value = -weight_H @ (came_true_HC * log_HC).sum(1) - prior_V @ np.log(np.maximum(shares_V, 1e-300))
        value += 0.5 * off**2 + 0.5 * ((offset_C / _OFFSET) ** 2).sum()
        # By each of them; of the shares through the softmax.
        missed_HC = weight_H[:, None] * (np.exp(log_HC) - came_true_HC)
        by_share_V = colder * np.einsum("hc,hvc->v", missed_HC, log_probs_HVC)
        by_free_V = shares_V * (by_share_V - shares_V @ by_share_V) - prior_V + prior_V.sum() * shares_V
        by_temperature = -colder * (missed_HC * pooled_HC).sum() + off / _SPREAD
        by_offset_C = (missed_HC.sum(0) + offset_C / _OFFSET**2)[: len(free) - n_voices - 1]
        return float(value), np.concatenate([by_free_V, [by_temperature], by_offset_C])

    start = np.concatenate([np.log(prior_V), [usual], none_C[: n_classes * with_offsets]])
    found = minimize(loss, start, jac=True).x
    return softmax(found[:n_voices]), float(np.exp(found[n_voices])), found[n_voices + 1 :] if with_offsets else none_C


def number_shares(
    log_masses_VHK: Sequence[np.ndarray],
    edges: np.ndarray,
    y_H: np.ndarray,
    weight_H: np.ndarray,
    prior: tuple[float, float] = OF_NUMBERS,
) -> np.ndarray:
    """(V,) shares for a numeric target: CRPS of the mixture, relative to the network's, under such a prior.

    The CRPS is the integral of a square, so that of a mixture is a quadratic form in the shares.
    """
    widths = np.diff(edges)
    length_K = np.concatenate([[widths[0]], widths[1:] + widths[:-1], [widths[-1]]]) / 2
    beyond_HK = edges >= y_H[:, None]
    off_VHK = [np.cumsum(np.exp(log_softmax(masses, 1)), 1)[:, :-1] - beyond_HK for masses in log_masses_VHK]
    root_HK = np.sqrt(weight_H[:, None] * length_K)
    flat_VX = np.stack([(off_HK * root_HK).ravel() for off_HK in off_VHK])
    quadratic_VV = flat_VX @ flat_VX.T
    quadratic_VV *= weight_H.sum() / max(quadratic_VV[0, 0], 1e-12)
    network, n_rows = prior
    prior_V = n_rows * prior_shares(len(flat_VX), network)

    def loss(free: np.ndarray) -> float:
        shares_V = softmax(free)
        return float(shares_V @ quadratic_VV @ shares_V - prior_V @ np.log(np.maximum(shares_V, 1e-300)))

    return softmax(minimize(loss, np.log(prior_V)).x)


def best_temperature(
    log_score: Callable[[float], np.ndarray], weight: np.ndarray | float = 1.0, typical: float = _TYPICAL
) -> float:
    """The softmax temperature that maximises the weighted sum of log scores, held back towards 1.

    Args:
        log_score: temperature -> (n,) log-probabilities or log densities of the labels of n rows that were predicted
            from contexts without them.
        weight: (n,) how much each counts.
        typical: the temperature that costs half a nat.
    Returns:
        between 1/4 and 4.
    Source:
        Temperature scaling, Guo et al. (2017), arXiv:1706.04599; here on cross-validated answers and with a
        log-normal prior in place of a validation set.
    """

    def loss(log_temperature: float) -> float:
        # One row may be impossible under every temperature; it shall not decide.
        total = (weight * np.maximum(log_score(float(np.exp(log_temperature))), -50.0)).sum()
        return 0.5 * (log_temperature / np.log(typical)) ** 2 - total

    reach = np.log(_FURTHEST)
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded", options={"xatol": 0.01})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0
