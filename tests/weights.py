"""Weights for tests of laws."""

import torch


def perturbed(model, generator: torch.Generator, std: float = 0.2):
    """Every weight moved: zero-initialised outputs would pass any symmetry test."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(std * torch.randn(parameter.shape, generator=generator))
    return model.eval()
