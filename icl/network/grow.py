"""A wider and deeper model that starts as a trained one, so that a bigger run need not start from nothing.

What is new is either written by nothing or read by nothing, and the answers are those of the trained model: new
components of a token start as zero, because all that writes to them is zero, while what reads them is drawn; new heads
and new units of an MLP are drawn, and what reads them is zero; new components of an old head have keys but ask for
nothing yet; a new block adds nothing to the tokens. One of the two factors is never zero, so that gradients reach the
other.

Sources:
    Chen et al. (2016), Net2Net, arXiv:1511.05641 (a larger network of the same function); Gong et al. (2019), ICML
    (depth by copies of trained blocks). Zeros instead of Net2Net's copies of units are own: a normalisation then
    divides by the old mean square times a constant, whatever the two widths are. Further waves of a rank are
    read by zeros.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from icl.network.cells import GROUP_OFFSETS, n_channels
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer

MAY_GROW = ("d_embed", "n_layers", "n_heads", "mlp_ratio", "n_rank_waves")


def grow(small: TabularTransformer, config: TabularConfig) -> TabularTransformer:
    """A model of `config` that answers as `small` does.

    Args:
        small: the trained model.
        config: equal to that of `small` but for `d_embed`, `n_layers`, `n_heads`, `mlp_ratio`, `n_rank_waves` and the
            width of a head, `d_embed / n_heads`, which may be larger. Limits may differ, and `least_groups`, by which
            narrow tables get another answer.
    Raises:
        ValueError: if another option differs, or one of these is smaller.
    """
    _refuse(small.config, config)
    grown = TabularTransformer(config).to(small.dtype)
    wide = {name: _Weight(name, value, small.config, config) for name, value in small.state_dict().items()}
    drawn = grown.state_dict()
    n_old, n_new = len(small.blocks), config.n_layers
    state = {name: w.placed(drawn[name]) for name, w in wide.items() if not name.startswith("blocks.")}
    position = 0
    for k in range(n_old):
        n_copies = (k + 1) * n_new // n_old - k * n_new // n_old  # spread evenly, original first
        for copy_index in range(n_copies):
            for name, weight in wide.items():
                if name.startswith(f"blocks.{k}."):
                    own_name = f"blocks.{position}." + name.split(".", 2)[2]
                    placed = weight.placed(drawn[own_name])
                    ends_branch = name.endswith(ENDS_OF_BRANCHES)
                    state[own_name] = torch.zeros_like(placed) if copy_index and ends_branch else placed
            position += 1
    grown.load_state_dict(state)
    return grown


ENDS_OF_BRANCHES = ("out.weight", "down.weight")


class _Weight:
    """One tensor of the trained model and where it lies in the larger one."""

    def __init__(self, name: str, value: Tensor, old: TabularConfig, new: TabularConfig):
        self.value = value
        leaf = ".".join(name.split(".")[-2:])
        token = _first(old.d_embed)
        pooled = torch.cat([token, new.d_embed + token])
        heads = _heads(old, new)
        hidden, scored = _first(old.mlp_ratio * old.d_embed), _first(2 * old.d_embed)
        as_is = [_first(n) for n in value.shape]
        narrower, sharper = math.sqrt(old.d_embed / new.d_embed), math.sqrt(_d_head(new) / _d_head(old))
        # Where its rows and columns go, what the old values are multiplied by, and whether the rest stays as drawn:
        # that of what reads tokens does, that of what writes to them is zero.
        self.places, self.factor, self.stays = {
            "query.weight": ((heads, token), sharper, True),
            "key_value.weight": ((torch.cat([heads, new.d_embed + heads]), token), 1.0, True),
            "out.weight": ((token, heads), 1.0, False),
            "up.weight": ((hidden, token), 1.0, True),
            "down.weight": ((token, hidden), 1.0, False),
            "project.weight": ((token, _channels(old, new)), 1.0, False),
            "project.bias": ((token,), 1.0, False),
            "mix.weight": ((token, token), 1.0, False),
            "number.weight": ((token, as_is[-1]), 1.0, False),
            "number.bias": ((token,), 1.0, False),
            "classes.weight": ((as_is[0], token), 1.0, False),
            "unknown.weight": ((as_is[0], token), 1.0, False),
            "thinking": ((as_is[0], token), 1.0, False),
            "norm.weight": ((pooled if name == leaf else token,), narrower, True),
            "0.weight": ((scored, pooled), 1.0, True),
            "0.bias": ((scored,), 1.0, True),
            "2.weight": ((as_is[0], scored), 1.0, False),
            "2.bias": ((as_is[0],), 1.0, False),
            "over_rows.log_scale": ((as_is[0],), 1.0, False),
        }[leaf]
        # The new components of an old head, in the order of the queries: they ask for nothing yet.
        among = _first(old.n_heads * _d_head(new))
        self.silent = among[~torch.isin(among, heads)] if leaf == "query.weight" else among[:0]

    def placed(self, drawn: Tensor) -> Tensor:
        """The larger tensor; `drawn` is what it would be in a model that starts from nothing."""
        out = drawn.clone() if self.stays else torch.zeros_like(drawn)
        out[self.silent] = 0.0
        out[torch.meshgrid(*self.places, indexing="ij")] = self.value.to(out) * self.factor
        return out


def _first(n: int) -> Tensor:
    return torch.arange(n)


def _d_head(config: TabularConfig) -> int:
    return config.d_embed // config.n_heads


def _heads(old: TabularConfig, new: TabularConfig) -> Tensor:
    """Where the components of the old heads lie among those of the new ones."""
    return (_first(old.n_heads)[:, None] * _d_head(new) + _first(_d_head(old))).flatten()


def _channels(old: TabularConfig, new: TabularConfig) -> Tensor:
    """Where the channels of the old cells lie among those of the new ones, the cells of a token one after the other."""
    n_cells = old.group_size * len(GROUP_OFFSETS)
    return (_first(n_cells)[:, None] * n_channels(new) + _first(n_channels(old))).flatten()


def _refuse(old: TabularConfig, new: TabularConfig) -> None:
    for name in ("group_size", "n_thinking_rows", "max_classes", "n_bins"):
        ours, theirs = getattr(new, name), getattr(old, name)
        if ours != theirs:
            told = f"{name} is {theirs} in the trained model and {ours} in the new one."
            raise ValueError(f"only {', '.join(MAY_GROW)} may grow: {told}")
    sizes = {name: (getattr(old, name), getattr(new, name)) for name in MAY_GROW if name != "mlp_ratio"}
    sizes["d_embed / n_heads"] = _d_head(old), _d_head(new)
    sizes["mlp_ratio x d_embed"] = old.mlp_ratio * old.d_embed, new.mlp_ratio * new.d_embed
    for name, (theirs, ours) in sizes.items():
        if ours < theirs:
            raise ValueError(
                f"a model can grow, not shrink: {name} is {theirs} in the trained one and {ours} in the new."
            )
