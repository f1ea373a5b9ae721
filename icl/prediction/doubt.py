"""What gaps of a row leave open, told to the members of the network.

Where a row lacks cells that the context has, companions answer for draws of them
(`icl.prediction.companions.surprise`). The network is shown the average of the draws, as if a companion had said so of
a whole row, and is too sure: with three tenths of the cells of new rows gone, log losses of ten tables were .459, now
.412 (benchmarks/surprise.md).

Dimension key: M query rows, V voices, T answers (classes, or bins and atoms), Q numbers that an answer stands for, D
draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import log_softmax

from icl.prediction.companions.surprise import Surprise, mean_of_logarithms
from icl.prediction.companions.voice import Voice

# Of a variance, below which nothing is open.
_LEAST = 1e-12


@dataclass(frozen=True)
class Doubt:
    """Moves members towards voices, by the share of their variance that is between draws of what a row lacks.

    A voice answers with the mean over draws, so it holds that variance (law of total variance); a member does not.

    Args:
        surprise: how gaps are filled.
        shares_V: how much each voice counts.
        values_TQ: what each answer stands for: indicators of classes (C, C), or a standardised number (K + A, 1).
        classify: whether answers are classes, whose logarithms are pooled as in the blend; else masses are mixed.
    """

    surprise: Surprise
    shares_V: np.ndarray
    values_TQ: np.ndarray
    classify: bool

    def heard(
        self, members: Sequence[torch.Tensor], voices: Sequence[Voice], rows_MF: np.ndarray
    ) -> list[torch.Tensor]:
        """(M, T) log-probabilities of members, then of voices; of rows without a surprise as they are."""
        if not voices:
            return list(members)
        said = [self._said(voice, rows_MF) for voice in voices]
        spoken = [torch.from_numpy(answer_MX[:, :-1]) for answer_MX in said]
        between_VM = np.stack([answer_MX[:, -1] for answer_MX in said])
        rows = np.flatnonzero((between_VM > _LEAST).any(0))
        if not len(rows):
            return [*members, *spoken]
        share_V = self.shares_V / self.shares_V.sum()
        between_m1 = (share_V @ between_VM[:, rows])[:, None]
        logs_VmT = np.stack([log_softmax(answer_MX[rows, :-1].astype(float), 1) for answer_MX in said])
        voices_mT = np.einsum("vmt,v->mt", logs_VmT if self.classify else np.exp(logs_VmT), share_V)
        return [*(self._moved(member, rows, voices_mT, between_m1) for member in members), *spoken]

    def _moved(
        self, member_MT: torch.Tensor, rows: np.ndarray, voices_mT: np.ndarray, between_m1: np.ndarray
    ) -> torch.Tensor:
        logs_mT = log_softmax(member_MT[rows].double().numpy(), 1)
        probs_mT = np.exp(logs_mT)
        mean_mQ = probs_mT @ self.values_TQ
        within_m1 = (probs_mT @ np.square(self.values_TQ) - np.square(mean_mQ)).sum(1, keepdims=True)
        open_m1 = between_m1 / (between_m1 + np.maximum(within_m1, 0.0))
        if self.classify:
            moved_mT = log_softmax(open_m1 * voices_mT + (1 - open_m1) * logs_mT, 1)
        else:
            moved_mT = np.log(open_m1 * voices_mT + (1 - open_m1) * probs_mT + 1e-300)
        moved_MT = member_MT.clone()
        moved_MT[rows] = torch.from_numpy(moved_mT).to(member_MT)
        return moved_MT

    def _said(self, voice: Voice, rows_MF: np.ndarray) -> np.ndarray:
        """(M, T + 1) what a voice says, gaps that are a surprise filled, and its variance between draws."""
        ask = lambda filled_MF: np.pad(voice(filled_MF).numpy(), ((0, 0), (0, 1)))

        def mean(drawn_DmX: np.ndarray) -> np.ndarray:
            logs_DmT = drawn_DmX[..., :-1]
            mean_DmQ = np.exp(log_softmax(logs_DmT, -1)) @ self.values_TQ
            return np.concatenate([mean_of_logarithms(logs_DmT), mean_DmQ.var(0).sum(1, keepdims=True)], 1)

        return self.surprise.answered(rows_MF, ask, mean)
