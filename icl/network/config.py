"""What a network is made of: the strict configuration that travels with its weights."""

from __future__ import annotations

import difflib
import inspect
from numbers import Integral
from typing import Any

from transformers import AutoConfig, PretrainedConfig

MOST_RANK_WAVES = 20
"""Faster ones would tell ranks apart that lie closer than rounding."""


class TabularConfig(PretrainedConfig):
    """Size and limits of a `TabularTransformer`; unknown keys are errors.

    Args:
        d_embed: width of a token.
        n_layers: blocks of feature attention, row attention and MLP.
        n_heads: attention heads; must divide `d_embed`.
        mlp_ratio: hidden width of the MLP in units of `d_embed`.
        group_size: features per token.
        least_groups: tokens that show the features of a narrow table, one for each feature at most: they begin at
            evenly spread features and overlap. A table wide enough has one for every `group_size` features.
        n_thinking_rows: learned rows prepended to the context.
        max_classes: class slots of the classification head.
        n_bins: bins of the regression head.
        n_rank_waves: waves of a cell's rank that describe it, each twice as fast as the one before.
        max_features: estimators refuse wider tables.
        max_context: estimators warn beyond this many context rows.
    """

    model_type = "icl_tabular"

    def __init__(
        self,
        d_embed: int = 96,
        n_layers: int = 4,
        n_heads: int = 3,
        mlp_ratio: int = 2,
        group_size: int = 3,
        n_thinking_rows: int = 16,
        max_classes: int = 10,
        n_bins: int = 128,
        n_rank_waves: int = 3,
        least_groups: int = 0,
        max_features: int = 100,
        max_context: int = 1_000,
        **kwargs,
    ):
        _refuse_unknown(kwargs)
        # Weights lie on disk in half precision; without this transformers would compute in it too.
        if not {"dtype", "torch_dtype"} & kwargs.keys():
            kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.d_embed, self.n_layers, self.n_heads, self.mlp_ratio = d_embed, n_layers, n_heads, mlp_ratio
        self.group_size, self.n_thinking_rows = group_size, n_thinking_rows
        self.max_classes, self.n_bins, self.n_rank_waves = max_classes, n_bins, n_rank_waves
        self.least_groups, self.max_features, self.max_context = least_groups, max_features, max_context
        for name in FIELDS:
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool):
                raise ValueError(f"{name} must be a whole number, got {value!r}.")
        for name in ("d_embed", "n_layers", "n_heads", "mlp_ratio", "group_size", "n_bins", "max_features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if d_embed % n_heads:
            raise ValueError(f"n_heads must divide d_embed, got d_embed={d_embed} and n_heads={n_heads}.")
        if not 0 <= n_rank_waves <= MOST_RANK_WAVES:
            raise ValueError(f"n_rank_waves must be 0 to {MOST_RANK_WAVES}, got {n_rank_waves}.")
        if least_groups < 0:
            raise ValueError(f"least_groups must not be negative, got {least_groups}.")
        if max_classes < 2:
            raise ValueError(f"max_classes must be at least 2, got {max_classes}.")


def own_fields(config: TabularConfig) -> dict[str, Any]:
    """What `TabularConfig` takes, without the bookkeeping of transformers."""
    return {name: getattr(config, name) for name in FIELDS}


def _refuse_unknown(options: dict) -> None:
    """Raise for options that neither this configuration nor transformers' own bookkeeping knows."""
    bookkeeping = {*PretrainedConfig().to_dict(), "model_type", "torch_dtype", "attn_implementation", "name_or_path"}
    unknown = [key for key in options if key not in bookkeeping and not key.startswith("_")]
    if unknown:
        close = difflib.get_close_matches(unknown[0], FIELDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(FIELDS)}."
        raise ValueError(f"TabularConfig has no option {', '.join(map(repr, unknown))}; {hint}")


FIELDS = tuple(inspect.signature(TabularConfig.__init__).parameters)[1:-1]
"""Names of all options."""

AutoConfig.register(TabularConfig.model_type, TabularConfig, exist_ok=True)
