"""Muon for the matrices of the blocks, AdamW for everything else, behind one optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule. The rate warms up, stays constant, then decays linearly to 0.

    A run stopped before the decay can be extended: resume it with a larger `--trainer.max_steps`.
    """

    lr_muon: float = 3e-3
    """Peak rate of the 2-D weights inside blocks (Muon, rescaled to AdamW's update size)."""
    lr_adamw: float = 2e-3
    """Peak rate of embeddings, norms and heads."""
    weight_decay: float = 0.05
    warmup_steps: int = 200
    """Length of the linear warm-up, in optimiser steps."""
    decay_share: float = 0.3
    """Share of `max_steps` at the end over which the rate falls to 0."""

    def __post_init__(self):
        for name in ("lr_muon", "lr_adamw"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if not 0 <= self.decay_share <= 1:
            raise ValueError(f"decay_share is a fraction of the run in [0, 1], got {self.decay_share}.")

    def rate_at(self, step: int, max_steps: int) -> float:
        """Multiplier of the peak rates at `step`; `max_steps` -1 means no end, hence no decay."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if max_steps < 0 or self.decay_share == 0:
            return warm
        return warm * min(1.0, max(0.0, (max_steps - step) / (self.decay_share * max_steps)))


class MuonAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` and `torch.optim.AdamW` as one optimiser, so that a trainer counts one step per batch.

    Source:
        Jordan et al. (2024), Muon; update size matched to AdamW as in Liu et al. (2025), arXiv:2502.16982.
    """

    def __init__(self, model: nn.Module, config: OptimConfig):
        matrices, others = split_parameters(model)
        self.muon = torch.optim.Muon(
            matrices, lr=config.lr_muon, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        decayed = [p for p in others if p.ndim >= 2]
        plain = [p for p in others if p.ndim < 2]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW(
            [g for g in groups if g["params"]],
            lr=config.lr_adamw,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
        )
        super().__init__([*matrices, *others], {})
        # Shared dictionaries: what a scheduler writes into a group reaches the inner optimiser.
        self.param_groups = self.muon.param_groups + self.adamw.param_groups

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.muon.step()
        self.adamw.step()
        return loss

    def state_dict(self) -> dict:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = self.muon.param_groups + self.adamw.param_groups


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices of the blocks, and all other parameters."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if "blocks." in name and p.ndim == 2]
    others = [p for name, p in named if not ("blocks." in name and p.ndim == 2)]
    return matrices, others
