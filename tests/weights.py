"""Weights for tests of laws."""

import copy

import torch


def perturbed(model, generator: torch.Generator, std: float = 0.2):
    """Every weight moved: zero-initialised outputs would pass any symmetry test."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(std * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def perturbed_reader(model, shape, generator):
    """A reader of weights unlike its network's, which stay as they are."""
    from icl.network.reader import Reader

    reader = perturbed(Reader(copy.deepcopy(model), shape), generator)
    reader.trunk.load_state_dict(model.state_dict())
    return reader
