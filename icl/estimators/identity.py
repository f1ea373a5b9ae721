"""What decides the answers of a fitted estimator, as text: two with one identity answer alike."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator

from icl.releases.state import Packer

# Parameters that change how the work is done, and no answer; what a budget left out is in the plan.
_ONLY_HOW = {"checkpoint", "device", "memory_gb", "fit_mode", "time_budget"}
# Of the state: told to people, found again from the rest, or part of the identity by another name.
_NOT_LEARNT = {"_tuned", "_calibrations", "_sklearn_version", "finetune_", "left_out_", "classes_", "_encoder"}


def identity_of(estimator: Any) -> dict[str, Any]:
    """What decides the answers of a fitted estimator: parameters, and digests of all that it learnt and asks.

    Everything in its state counts unless it is known not to: what a later version keeps is in it by itself.
    """
    fitted = estimator.answering()  # says so if nothing was fitted
    state, params = estimator.__getstate__(), estimator.get_params(deep=False)
    context, weights = hashlib.sha256(), hashlib.sha256()
    for name in ("_context_NF", "_y_N"):
        context.update(np.ascontiguousarray(state[name]).tobytes())
    tensors = {k: v.detach().cpu().contiguous() for k, v in fitted.model.state_dict().items()}
    for value in tensors.values():
        weights.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    learnt = {k: v for k, v in state.items() if k not in params and k not in _NOT_LEARNT}
    # Found by the network, whose numbers differ a little from device to device.
    learnt |= {"blend_": str(estimator.blend_), "temperature_": f"{estimator.temperature_:.3g}"}
    # Without the sign of what rounds to 0.
    offsets = np.asarray(state.get("_offsets_C", ()))
    learnt["_offsets_C"] = np.array2string(offsets, formatter={"float_kind": lambda offset: f"{offset:z.2f}"})
    learnt["_plan"] = replace(state["_plan"], left_out=())
    network = _settings(fitted.model), [(k, str(v.dtype), tuple(v.shape)) for k, v in tensors.items()]
    return {
        "class": type(estimator).__name__,
        "context": context.hexdigest(),
        "weights": weights.hexdigest(),
        "network": digest_of(network),
        "classes": digest_of(state.get("classes_")),
        "columns": digest_of(state["_encoder"]),
        "learnt": digest_of(learnt),
    } | {name: _shown(value) for name, value in params.items() if name not in _ONLY_HOW}


def digest_of(value: Any) -> str:
    """Of plain values, arrays, tables, and objects made of these; the same in every process."""
    packer = _Anything()
    digest = hashlib.sha256(json.dumps(packer.pack(value)).encode())
    for array in packer.arrays.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _settings(model: Any) -> list:
    """Of a network, sorted; not the version of a library that wrote them."""
    config: Any = getattr(model, "config", None)
    given = config.to_dict() if hasattr(config, "to_dict") else vars(config) if config is not None else {}
    return sorted((k, repr(v)) for k, v in given.items() if not k.endswith("_version"))


def _shown(value: Any) -> str:
    plain = value if isinstance(value, tuple | list) else (value,)
    return repr(value) if all(type(v) in (type(None), bool, int, float, str) for v in plain) else digest_of(value)


class _Anything(Packer):
    """Also packs what cannot be saved: nothing has to come back."""

    def _other(self, value: Any, where: str) -> Any:
        try:
            return super()._other(value, where)
        except (ValueError, TypeError):  # without a plain form, or without attributes
            name = f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, BaseEstimator):
            return [name, self.pack(value.get_params(deep=False), where)]
        if isinstance(value, np.random.RandomState):
            return [name, self.pack(value.get_state(), where)]
        try:
            return [name, hashlib.sha256(pickle.dumps(value)).hexdigest()]
        except Exception:  # whatever its class raises
            return [name, repr(value)]

    def _frame(self, frame: pd.DataFrame, where: str) -> Any:
        """Names, types and cells, whatever the types; rows by their place."""
        kinds = [
            [str(dtype), [self.pack(list(dtype.categories), where), dtype.ordered]]
            if isinstance(dtype, pd.CategoricalDtype)
            else str(dtype)
            for dtype in frame.dtypes
        ]
        cells = [pd.util.hash_pandas_object(frame.iloc[:, i], index=False).to_numpy() for i in range(frame.shape[1])]
        return [self.pack(list(frame.columns), where), kinds, [self.pack(column, where) for column in cells]]
