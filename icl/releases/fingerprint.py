"""Fingerprints of rows: which rows a checkpoint was fine-tuned on, without keeping the rows themselves.

A fingerprint is 64 bits of a row's content: column names and cells, whatever the order of columns and rows, the file
format or the type that a number is stored in (3, 3.0 and "3" are one; numbers count to the precision of float32). A
missing cell adds nothing. They hide cells from a reader, not from somebody who can guess whole rows and compare.

A fresh row may equal a training row by chance, in a table of few coarse columns often. How often is estimated from the
training rows themselves: the chance that one more row repeats an earlier one is 1 - (rows that occur once) / rows.

Source:
    Good (1953), doi:10.1093/biomet/40.3-4.237 (the probability of what has been seen before).
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FILE = "fingerprints.npz"
# More matches than chance brings with this probability are refused; chance is estimated, so not at 5 %.
_CHANCE = 1e-4
_MISSING = np.uint64(0)


def row_fingerprints(frame: pd.DataFrame, columns: Sequence | None = None) -> np.ndarray:
    """(n,) uint64 of the rows, over `columns` (default: all)."""
    total = np.zeros(len(frame), dtype=np.uint64)
    for name in frame.columns if columns is None else columns:
        cells = _cells(frame[name])
        own = _mix(cells + np.uint64(_digest(str(name))))
        total += np.where(cells == _MISSING, np.uint64(0), own)  # a sum, so that the order of columns is irrelevant
    return _mix(total)


def _cells(series: pd.Series) -> np.ndarray:
    """(n,) uint64 of the cells, 0 where missing."""
    import pandas as pd

    dtype = series.dtype
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return _of_numbers(series.to_numpy(dtype=np.float64, na_value=np.nan))
    if isinstance(dtype, pd.CategoricalDtype):
        codes, levels = series.cat.codes.to_numpy(), series.cat.categories
    else:
        codes, levels = pd.factorize(series.astype(object))
    known = np.array([*(_of_value(v) for v in levels), _MISSING], dtype=np.uint64)
    return known[codes]  # code -1, missing, finds the last


def _of_value(value: Any) -> np.uint64:
    import pandas as pd

    if isinstance(value, pd.Timestamp):
        value = value.isoformat(sep=" ").removesuffix(" 00:00:00")
    text = str(value).strip()
    if not text:
        return _MISSING
    if text in ("True", "False"):
        text = str(int(text == "True"))
    try:
        number = float(text) if "_" not in text else np.nan
    except ValueError:
        number = np.nan
    if number == number:
        return _of_numbers(np.array([number]))[0]
    return np.uint64(_digest(text) | 1)  # never 0, which is missing


def _of_numbers(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        single = values.astype(np.float32) + np.float32(0)  # -0 becomes 0
    keys = _mix(single.view(np.uint32).astype(np.uint64) + np.uint64(1)) | np.uint64(1)
    return np.where(np.isnan(values), _MISSING, keys)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014): every bit depends on every bit."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Seen:
    """Rows of one table that a model was fine-tuned on.

    Attributes:
        name: of the table.
        columns: that the fingerprints cover, the target among them.
        target: None where any column served as one.
        rows: sorted fingerprints of whole rows.
        features: sorted fingerprints of the rows without the target; empty if `target` is None.
    """

    name: str
    columns: tuple[str, ...]
    target: str | None
    rows: np.ndarray
    features: np.ndarray

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame, target: str | None) -> Seen:
        columns = list(frame.columns)
        others = [c for c in columns if c != target]
        features = row_fingerprints(frame, others) if target is not None else np.zeros(0, dtype=np.uint64)
        rows = np.sort(row_fingerprints(frame))
        return cls(name, tuple(map(str, columns)), target, rows, np.sort(features))

    def matches(self, frame: pd.DataFrame, labeled: bool) -> tuple[np.ndarray, float] | None:
        """Which rows of `frame` were trained on (n,), and the chance that a fresh row looks as if.

        Args:
            labeled: compare whole rows; else rows without the target.
        Returns:
            None if the frame lacks a column, so that nothing can be said.
        """
        wanted = [c for c in self.columns if labeled or c != self.target]
        names = {str(c): c for c in frame.columns}
        known = self.rows if labeled else self.features
        if not len(known) or any(c not in names for c in wanted):
            return None
        own = row_fingerprints(frame[[names[c] for c in wanted]].set_axis(wanted, axis=1))
        place = np.searchsorted(known, own).clip(max=len(known) - 1)
        _, counts = np.unique(known, return_counts=True)
        return known[place] == own, float(1 - (counts == 1).sum() / len(known))


def to_bytes(seen: Sequence[Seen]) -> bytes:
    """What a release keeps as `FILE`."""
    head = [{"name": s.name, "columns": s.columns, "target": s.target} for s in seen]
    arrays = {f"rows_{k}": s.rows for k, s in enumerate(seen)} | {
        f"features_{k}": s.features for k, s in enumerate(seen)
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8), **arrays)
    return buffer.getvalue()


def read_seen(folder: Path) -> list[Seen]:
    """The rows that the release in `folder` was fine-tuned on; none for a release that saw synthetic tasks only.

    Raises:
        ValueError: if the provenance speaks of fine-tuning, but the fingerprints are absent or damaged.
    """
    from icl.releases.names import PROVENANCE

    file = folder / PROVENANCE
    facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    wanted = facts.get("fingerprints")
    if not wanted:
        return []
    try:
        raw = (folder / wanted["file"]).read_bytes()
    except OSError:
        raw = b""
    if hashlib.sha256(raw).hexdigest() != wanted["sha256"]:
        raise ValueError(
            f"{folder / wanted['file']} is missing or not the one that the release was written with, so it cannot be "
            f"said which rows the model was fine-tuned on. Copy the whole release folder again."
        )
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        head = json.loads(arrays["head"].tobytes().decode())
        return [
            Seen(h["name"], tuple(h["columns"]), h["target"], arrays[f"rows_{k}"], arrays[f"features_{k}"])
            for k, h in enumerate(head)
        ]


def refuse_seen(seen: Sequence[Seen], labeled: pd.DataFrame, unlabeled: pd.DataFrame, checkpoint: str) -> None:
    """Raise if rows of an analysis were trained on, more of them than chance explains.

    A model knows the labels of such rows: its errors there are too small, and an interval built on them too narrow.

    Raises:
        ValueError: with the tables, how many rows, and what to do.
    """
    from scipy.stats import binom

    _warn_if_blind(seen, labeled, checkpoint)
    for frame, which, is_labeled in ((labeled, "labeled", True), (unlabeled, "unlabeled", False)):
        if not len(frame):
            continue
        known, chance, tables = np.zeros(len(frame), dtype=bool), 0.0, []
        for table in seen:
            found = table.matches(frame, is_labeled)
            if found is not None and found[0].any():
                known |= found[0]
                chance = max(chance, found[1])
                tables.append(table.name)
        n_known = int(known.sum())
        if n_known > binom.ppf(1 - _CHANCE, len(frame), min(1.0, len(tables) * chance)):
            by_chance = (
                f" (by chance about {chance * len(frame):.0f} would look so)" if chance * len(frame) >= 1 else ""
            )
            raise ValueError(
                f"checkpoint {checkpoint} was fine-tuned on {n_known} of the {len(frame)} {which} rows{by_chance}, "
                f"with their labels, in {', '.join(tables[:3])}{', ...' if len(tables) > 3 else ''}: its errors there "
                f"are smaller than elsewhere, and an interval built on them would be too narrow. Use rows that were "
                f"held out from fine-tuning, a checkpoint that did not see these rows (such as the one it started "
                f"from), or finetune=True in the estimator, which is cross-fitted with it."
            )


def _warn_if_blind(seen: Sequence[Seen], labeled: pd.DataFrame, checkpoint: str) -> None:
    """Say so where rows look like those of training tables, but lack columns to compare."""
    present = set(map(str, labeled.columns))
    alike = [
        s
        for s in seen
        if (s.target is None or s.target in present) and 2 * len(present & set(s.columns)) > len(s.columns)
    ]
    if alike and not any(present.issuperset(s.columns) for s in alike):
        absent = [c for c in alike[0].columns if c not in present]
        warnings.warn(
            f"it cannot be told whether checkpoint {checkpoint} was fine-tuned on these rows: they lack column "
            f"{', '.join(map(repr, absent[:3]))} of {alike[0].name}, which it was trained on. Keep the columns in the "
            f"table (features= names what the predictor may see), or make sure that the rows were held out.",
            UserWarning,
            stacklevel=4,
        )
