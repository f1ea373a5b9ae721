"""Fingerprints of rows: which rows a checkpoint was fine-tuned on, told to whoever has the rows, and to nobody else.

A fingerprint covers a row's column names and cells, without the column that was predicted, whatever the order of
columns and rows, the file format or the type that a number is stored in (3, 3.0 and "3" are one; numbers count to the
precision of float32). A missing cell adds nothing.

Who may attack: anybody who holds the release folder, with this code, any amount of computing and any other tables, and
who wants the training rows back. What protects them:

- The labels are not in the fingerprints, so they cannot be taken from them.
- One salted hash covers the whole row: no part of a row can be tested without the rest, and tables of hashes made once
  do not serve for two releases.
- Few bits: of rows that were not trained on, one in `ONE_IN` to twice that matches by chance. Whoever lists everything
  that a row might be is left with a crowd: of 80 million possible rows at least 150,000 match, a few hundred of which
  are true.
- The hash is slow (scrypt, 64 KB, .14 ms a row on a Zen 5 core): 80 million rows take a core three hours.

What they do not protect: whoever already knows all cells of a row (but its label) learns whether it was trained on,
wrong once in `ONE_IN` to twice as many; where only a handful of rows are possible the crowd is as small. And the
weights themselves know the labels of training rows: a model can be asked for them. A release that was tuned on
confidential rows is confidential to that degree.

Releases of icl 0.1 hold 64 bits of a fast hash that is a sum over cells. It can be turned back, labels and all, in
seconds; such fingerprints are read, and lose their labels and most of their bits when a release inherits them.

Source:
    Percival & Josefsson (2016), RFC 7914 (scrypt); Steele et al. (2014), doi:10.1145/2660193.2660195 (SplitMix64).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ONE_IN = 256
"""Of rows that were not trained on, one in this many at most matches by chance."""
SALT_BYTES = 16
_MISSING = np.uint64(0)
_COST = {"n": 64, "r": 8, "p": 1}  # `infer` and `icl compare` wait for it: about a second


def bits_for(n_rows: int) -> int:
    """Bits of each of so many fingerprints."""
    return max(int(np.ceil(np.log2(max(n_rows, 1) * ONE_IN))), 1)


def row_prints(frame: pd.DataFrame, salt: bytes, bits: int) -> np.ndarray:
    """(n,) uint64 below 2^bits of the rows, over all columns."""
    names = sorted(frame.columns, key=str)
    parts = np.zeros((len(frame), len(names), 2), dtype="<u8")
    for k, name in enumerate(names):
        cells = _cells(frame[name])
        parts[:, k, 1] = cells
        parts[:, k, 0] = np.where(cells == _MISSING, 0, np.uint64(_digest(str(name))))
    known: dict[bytes, int] = {}
    out = np.empty(len(frame), dtype=np.uint64)
    for i, row in enumerate(parts):
        message = row[row[:, 1] != 0].tobytes()
        if message not in known:
            known[message] = int.from_bytes(hashlib.scrypt(message, salt=salt, dklen=8, **_COST), "little")
        out[i] = known[message]
    return cut(out, bits)


def cut(prints: np.ndarray, bits: int) -> np.ndarray:
    """The leading bits of 64."""
    return prints >> np.uint64(64 - bits)


def row_fingerprints(frame: pd.DataFrame, columns: Sequence | None = None) -> np.ndarray:
    """(n,) uint64 of the rows, over `columns` (default: all): fast, and easily turned back.

    For releases of icl 0.1, and for telling tables apart on one's own machine; never for what is shared.
    """
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
