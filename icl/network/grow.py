"""A deeper model that starts as a shallower trained one, so that a bigger run need not start from nothing."""

from __future__ import annotations

import copy

import torch

from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer


def grow(small: TabularTransformer, config: TabularConfig) -> TabularTransformer:
    """A model of `config` that answers as `small` does: the blocks in excess are copies whose outputs are zero.

    Args:
        small: the trained model.
        config: equal to that of `small` but for `n_layers`, which may be larger.
    Raises:
        ValueError: if another option differs, or if `config` has fewer layers.
    Source:
        Gong et al. (2019), ICML: depth by stacking copies of trained blocks; zeroed outputs, as in Chen et al. (2016),
        arXiv:1511.05641, keep the function.
    """
    for name in ("d_embed", "n_heads", "mlp_ratio", "group_size", "n_thinking_rows", "max_classes", "n_bins"):
        ours, theirs = getattr(config, name), getattr(small.config, name)
        if ours != theirs:
            raise ValueError(
                f"only n_layers may grow: {name} is {theirs} in the trained model and {ours} in the new one."
            )
    n_old, n_new = len(small.blocks), config.n_layers
    if n_new < n_old:
        raise ValueError(f"the trained model has {n_old} layers, the new one only {n_new}; it can grow, not shrink.")
    grown = TabularTransformer(config)
    state = {name: value for name, value in small.state_dict().items() if not name.startswith("blocks.")}
    grown.load_state_dict(state, strict=False)
    position = 0
    for k, block in enumerate(small.blocks):
        n_copies = (k + 1) * n_new // n_old - k * n_new // n_old  # spread evenly, original first
        for copy_index in range(n_copies):
            target = grown.blocks[position]
            target.load_state_dict(copy.deepcopy(block.state_dict()))
            if copy_index:
                for weight in (target.over_features.out.weight, target.over_rows.out.weight, target.down.weight):
                    torch.nn.init.zeros_(weight)
            position += 1
    return grown
