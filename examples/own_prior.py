"""Train on a prior of your own: any class with `sample(shape, generator)` works, without touching this package.

    PYTHONPATH=examples python train.py fit --config configs/oracle.yaml --trainer.max_steps 200 \
        --data.priors '[{class_path: own_prior.SinePrior, init_args: {noise_std: 0.2}}]'
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from priors import TaskBatch, TaskShape


@dataclass(frozen=True)
class SinePrior:
    """y = sin(w x0 + phase) + noise, with a frequency and a phase per task."""

    noise_std: float = 0.1

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        def normal(*size: int) -> torch.Tensor:
            return torch.randn(size, generator=generator, device=generator.device)

        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        X_BRF = normal(B, R, F)
        y_BR = torch.sin(2 * normal(B, 1) * X_BRF[..., 0] + normal(B, 1)) + self.noise_std * normal(B, R)
        return TaskBatch(X_BRF, y_BR, shape.n_context, torch.zeros(B, F, dtype=torch.bool, device=generator.device))
