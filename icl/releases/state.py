"""What an estimator has learnt, written as plain numbers and texts: no pickle, and nothing in a file chooses code.

Values become JSON, arrays go to a safetensors file beside it. Objects are written as their attributes, and only those
of classes in PLACES come back: a file can make a wrong number, not run anything.
"""

from __future__ import annotations

import base64
import datetime
import io
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from icl.releases.names import CheckpointError

# Modules whose classes may be written and come back; one that ends in a dot stands for all below it.
PLACES = ("icl.tables.", "icl.prediction.", "icl.estimators.", "icl.finetuning.config", "icl.finetuning.one_table")
_TAG = "#"


class Packer:
    """Turns values into what JSON takes; arrays are set aside in `arrays`.

    Args:
        given: objects that whoever reads brings along; their places alone are written.
    """

    def __init__(self, given: Sequence[Any] = ()) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._given = [alike(one) for one in given]

    def pack(self, value: Any, where: str = "") -> Any:
        """The JSON of `value`; `where` it stands is named in messages.

        Raises:
            ValueError: naming where something stands that has no plain form.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if np.isfinite(value) else {_TAG: "float", "v": str(value)}
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, list):
            return [self.pack(item, f"{where}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, tuple):
            return {_TAG: "tuple", "v": [self.pack(item, f"{where}[{i}]") for i, item in enumerate(value)]}
        if isinstance(value, dict):
            pairs = [[self.pack(key, where), self.pack(item, f"{where}.{key}")] for key, item in value.items()]
            return {_TAG: "dict", "v": pairs}
        if isinstance(value, pd.DataFrame):
            return self._frame(value, where)
        return self._other(value, where)

    def _other(self, value: Any, where: str) -> Any:
        if value is pd.NA or value is pd.NaT:
            return {_TAG: "missing", "v": "NA" if value is pd.NA else "NaT"}
        if isinstance(value, pd.Timestamp):
            return {_TAG: "timestamp", "v": value.isoformat(), "unit": value.unit}
        if isinstance(value, pd.Timedelta):
            return {_TAG: "timedelta", "v": value.value}
        if isinstance(value, datetime.datetime):
            return {_TAG: "datetime", "v": value.isoformat()}
        if isinstance(value, datetime.date):
            return {_TAG: "date", "v": value.isoformat()}
        if isinstance(value, (Decimal, Fraction)):
            return {_TAG: type(value).__name__, "v": str(value)}
        if isinstance(value, np.generic):
            return {_TAG: "scalar", "v": self._array(np.asarray(value), where)}
        if isinstance(value, Path):
            return str(value)
        name, module = type(value).__qualname__, type(value).__module__
        if _is_ours(module):
            fields = [[key, self.pack(inner, f"{where}.{key}")] for key, inner in vars(value).items()]
            return {_TAG: "object", "class": [module, name], "v": fields}
        if self._given and alike(value) in self._given:
            return {_TAG: "given", "v": self._given.index(alike(value))}
        raise ValueError(
            f"{where or 'it'} is a {name}, which has no plain form that can be saved (nothing is pickled). Use text "
            f"and numbers in the table, and options that have a name."
        )

    def _array(self, value: np.ndarray, where: str) -> Any:
        if value.dtype == object or value.dtype.kind in "US":
            cells = [self.pack(cell, where) for cell in value.ravel().tolist()]
            return {_TAG: "objects", "dtype": value.dtype.str, "shape": list(value.shape), "v": cells}
        name = f"a{len(self.arrays)}"
        self.arrays[name] = np.ascontiguousarray(value.view("i8") if value.dtype.kind in "mM" else value)
        return {_TAG: "array", "at": name, "dtype": value.dtype.str, "shape": list(value.shape)}

    def _frame(self, frame: pd.DataFrame, where: str) -> Any:
        objects = [i for i, dtype in enumerate(frame.dtypes) if pd.api.types.is_object_dtype(dtype)]
        names = frame.columns
        cells = {str(i): self._array(frame.iloc[:, i].to_numpy(object), f"column {names[i]!r}") for i in objects}
        others = [i for i in range(len(names)) if i not in objects]
        rest = frame.iloc[:, others].reset_index(drop=True).set_axis([str(i) for i in others], axis=1)
        buffer = io.BytesIO()
        rest.to_parquet(buffer, index=False)
        at = frame.index
        index = [at.start, at.stop, at.step] if isinstance(at, pd.RangeIndex) else self._array(at.to_numpy(), where)
        return {
            _TAG: "frame",
            "columns": self._array(names.to_numpy(object), where),
            "index": index,
            "n": len(frame),
            "objects": cells,
            "parquet": base64.b64encode(buffer.getvalue()).decode(),
        }


class Unpacker:
    """The way back.

    Args:
        arrays: those that were set aside.
        path: of the file, named in messages.
        given: what `Packer` was given, brought along.
    """

    def __init__(self, arrays: dict[str, np.ndarray], path: Path, given: Sequence[Any] = ()):
        self.arrays, self.path, self.given = arrays, path, given

    def unpack(self, node: Any) -> Any:
        """The value that `node` stands for.

        Raises:
            CheckpointError: for what no file of ours holds.
        """
        if isinstance(node, list):
            return [self.unpack(item) for item in node]
        if not isinstance(node, dict):
            return node
        kind = node.get(_TAG)
        try:
            return self._of_kind(kind, node)
        except CheckpointError:
            raise
        except Exception as error:  # whatever a damaged file makes of numbers, dates or Parquet
            raise CheckpointError(
                f"{self.path} is damaged: a {kind!r} in it cannot be read ({error}). Save the model again."
            ) from error

    def _of_kind(self, kind: Any, node: dict) -> Any:
        if kind == "tuple":
            return tuple(self.unpack(node["v"]))
        if kind == "dict":
            return {self.unpack(key): self.unpack(value) for key, value in node["v"]}
        if kind == "object":
            return self._object(node)
        if kind == "frame":
            return self._frame(node)
        if kind == "objects":
            cells = np.empty(len(node["v"]), dtype=object)
            cells[:] = [self.unpack(cell) for cell in node["v"]]
            return cells.reshape(node["shape"]).astype(_text_or_object(node["dtype"]))
        if kind == "array":
            return self.arrays[node["at"]].reshape(node["shape"]).view(_number(node["dtype"]))
        if kind == "given":
            return self.given[node["v"]]
        if kind == "scalar":
            return self.unpack(node["v"])[()]
        simple: dict[Any, Any] = {
            "float": lambda v: float(v),
            "missing": lambda v: {"NA": pd.NA, "NaT": pd.NaT}[v],
            "timestamp": lambda v: pd.Timestamp(v).as_unit(node["unit"]),
            "timedelta": lambda v: pd.Timedelta(int(v)),
            "datetime": datetime.datetime.fromisoformat,
            "date": datetime.date.fromisoformat,
            "Decimal": Decimal,
            "Fraction": Fraction,
        }
        if kind not in simple:
            raise CheckpointError(f"{self.path} holds a {str(kind)[:40]!r}, which this version does not know.")
        return simple[kind](node["v"])

    def _object(self, node: dict) -> Any:
        module, name = map(str, node["class"])
        cls = getattr(import_module(module), name, None) if _is_ours(module) else None
        # What a module imports is not its own.
        if not isinstance(cls, type) or cls.__module__ != module:
            raise CheckpointError(
                f"{self.path} asks for the class {name[:80]!r} of {module[:80]!r}, which no state has."
            )
        made: Any = object.__new__(cls)
        for key, value in node["v"]:
            object.__setattr__(made, str(key), self.unpack(value))  # dataclasses may be frozen
        return made

    def _frame(self, node: dict) -> pd.DataFrame:
        names = self.unpack(node["columns"])
        rest = pd.read_parquet(io.BytesIO(base64.b64decode(node["parquet"])))
        cells = {key: self.unpack(value) for key, value in node["objects"].items()}
        columns = [cells[str(i)] if str(i) in cells else rest[str(i)] for i in range(len(names))]
        frame = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(node["n"]))
        frame.columns = pd.Index(names.tolist())
        index = node["index"]
        frame.index = pd.RangeIndex(*index) if isinstance(index, list) else pd.Index(self.unpack(index))
        return frame


def alike(value: Any) -> str:
    """What two objects have in common that are alike: their class, and how they show themselves."""
    return f"{type(value).__module__}.{type(value).__qualname__}: {value!r}"


def _is_ours(module: str) -> bool:
    return any(module.startswith(place) if place.endswith(".") else module == place for place in PLACES)


def _number(dtype: str) -> np.dtype:
    found = np.dtype(dtype)
    if found.kind not in "biufmM":
        raise ValueError(f"{dtype} is no type of numbers")
    return found


def _text_or_object(dtype: str) -> np.dtype:
    found = np.dtype(dtype)
    if found.kind not in "OUS":
        raise ValueError(f"{dtype} is no type of text")
    return found
