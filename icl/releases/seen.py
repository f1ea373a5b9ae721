"""Which rows a release was fine-tuned on: kept as fingerprints, compared with the rows of an analysis.

A fresh row may look like a training row by chance: because a table of few coarse columns repeats itself, and because
fingerprints have few bits (`icl.releases.fingerprint`). Repeats are estimated from the training rows themselves: the
chance that one more row repeats an earlier one is 1 - (rows that occur once) / rows.

Source:
    Good (1953), doi:10.1093/biomet/40.3-4.237 (the probability of what has been seen before).
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.releases.fingerprint import ONE_IN, SALT_BYTES, bits_for, cut, row_fingerprints, row_prints
from icl.releases.names import FINGERPRINTS, CheckpointError, resolve_checkpoint
from icl.releases.provenance import provenance_in
from icl.releases.reading import read_bounded
from icl.releases.steady import read_steadily

if TYPE_CHECKING:
    import pandas as pd

FILE = FINGERPRINTS
_MOST_BYTES = 64 * 2**20
# More matches than chance brings with this probability are refused; chance is estimated, so not at 5 %.
_CHANCE = 1e-4
_MOST_CHECKED = 4_000
"""Rows of a table that are compared, at random. If none of them was trained on, hardly one in a thousand was."""


@dataclass(frozen=True)
class Seen:
    """Rows of one table that a model was fine-tuned on.

    Attributes:
        name: of the table.
        columns: of the table, the target among them.
        target: its cells are in no fingerprint; None where any column served as one.
        prints: sorted fingerprints, each once.
        n_rows: of the table.
        repeats: chance that a fresh row repeats one of the table, cell for cell.
        bits: of a fingerprint.
        salt: None for the fast hash of icl 0.1.
    """

    name: str
    columns: tuple[str, ...]
    target: str | None
    prints: np.ndarray
    n_rows: int
    repeats: float
    bits: int
    salt: bytes | None

    @property
    def covered(self) -> tuple[str, ...]:
        """Columns that the fingerprints cover, in one order for all tables that have them."""
        return tuple(sorted(c for c in self.columns if c != self.target))

    @property
    def chance(self) -> float:
        """That a fresh row looks as if it had been trained on."""
        return 1 - (1 - self.repeats) * (1 - len(self.prints) / 2.0**self.bits)

    def matches(self, frame: pd.DataFrame, labeled: bool, memo: dict | None = None) -> np.ndarray | None:
        """Which rows of `frame` were trained on (n,), or look as if.

        Args:
            labeled: whether the target must be a column of `frame`; its cells do not count.
            memo: keeps what was computed of `frame`, for further tables with the same columns and salt.
        Returns:
            None if the frame lacks a column, so that nothing can be said.
        """
        names = {str(c): c for c in frame.columns}
        needed = self.columns if labeled else self.covered
        if not len(self.prints) or any(c not in names for c in needed):
            return None
        memo = {} if memo is None else memo
        key = (self.covered, self.salt)
        if key not in memo:
            part = frame[[names[c] for c in self.covered]].set_axis(list(self.covered), axis=1)
            memo[key] = row_fingerprints(part) if self.salt is None else row_prints(part, self.salt, 64)
        own = cut(memo[key], self.bits)
        place = np.searchsorted(self.prints, own).clip(max=len(self.prints) - 1)
        return self.prints[place] == own

    def blurred(self, bits: int) -> Seen:
        """With so many bits at most; 64 can be turned back."""
        if bits >= self.bits:
            return self
        return replace(self, prints=np.unique(self.prints >> np.uint64(self.bits - bits)), bits=bits)


def seen_of(tables: Mapping[str, pd.DataFrame], target: str | None) -> list[Seen]:
    """Fingerprints of tables that one release was tuned on, with one salt; one fresh row in `ONE_IN` matches any."""
    salt, bits = secrets.token_bytes(SALT_BYTES), bits_for(sum(map(len, tables.values())))
    found = []
    for name, frame in tables.items():
        covered = frame[[c for c in frame.columns if c != target]]
        whole = row_prints(covered, salt, 64)
        columns = tuple(map(str, frame.columns))
        prints = np.unique(cut(whole, bits))
        found.append(Seen(name, columns, target, prints, len(frame), repeat_chance(whole), bits, salt))
    return found


def repeat_chance(prints: np.ndarray) -> float:
    """That one more row repeats one of these."""
    _, counts = np.unique(prints, return_counts=True)
    return float(1 - (counts == 1).sum() / max(len(prints), 1))


def united(parts: Sequence[Sequence[Seen]]) -> list[Seen]:
    """The tables that several releases were tuned on; what they inherited from one ancestor once."""
    found: dict[tuple, Seen] = {}
    for one in (one for part in parts for one in part):
        found.setdefault((one.name, one.columns, one.target, one.salt, one.prints.tobytes()), one)
    return list(found.values())


def to_bytes(seen: Sequence[Seen]) -> bytes:
    """What a release keeps as `FILE`; inherited fingerprints of the old kind lose most of their bits."""
    n_old = sum(s.n_rows for s in seen if s.salt is None)
    seen = [s if s.salt else s.blurred(bits_for(n_old)) for s in seen]
    head = [
        {
            "name": s.name, "columns": s.columns, "target": s.target, "rows": s.n_rows, "bits": s.bits,
            "repeats": s.repeats, "salt": s.salt.hex() if s.salt else None,
        }
        for s in seen
    ]  # fmt: skip
    arrays: dict[str, Any] = {f"prints_{k}": s.prints for k, s in enumerate(seen)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8), **arrays)
    return buffer.getvalue()


def described(seen: Sequence[Seen], content: bytes) -> dict[str, Any]:
    """What the provenance says of the fingerprints in `content`."""
    return {
        "file": FILE,
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": sum(s.n_rows for s in seen),
        "scheme": "scrypt over the cells of a row but its label",
        "false_positives": f"one in {ONE_IN} at most",
    }


def read_seen(folder: Path) -> list[Seen]:
    """The rows that the release in `folder` was fine-tuned on; none for a release that saw synthetic tasks only.

    Raises:
        CheckpointError: if the provenance speaks of fine-tuning, but the fingerprints are absent or damaged.
    """
    return read_steadily(folder, lambda: _read_seen(folder))


def refuse_tuned(name_or_path: str) -> None:
    """CheckpointError if a release has seen real rows: what goes on from it in pretraining keeps no record of them."""
    folder = resolve_checkpoint(name_or_path)
    if seen := read_seen(folder):
        raise CheckpointError(
            f"{folder} was fine-tuned on {sum(one.n_rows for one in seen):,} real rows, which pretraining would "
            "make it forget to say: results on these rows would look better than they are. Start from the release that "
            "it was tuned from, and tune again afterwards with icl finetune."
        )


def _read_seen(folder: Path) -> list[Seen]:
    wanted = provenance_in(folder).get("fingerprints")
    if not wanted:
        return []
    try:
        raw = read_bounded(folder / FILE, _MOST_BYTES)
    except CheckpointError:
        raw = b""
    if not isinstance(wanted, dict) or hashlib.sha256(raw).hexdigest() != wanted.get("sha256"):
        raise CheckpointError(
            f"{folder / FILE} is missing or not the one that the release was written with, so it cannot be said which "
            f"rows the model was fine-tuned on. Copy the whole release folder again."
        )
    try:
        return _parse(raw)
    except Exception as error:  # zip, NumPy and JSON raise many classes
        raise CheckpointError(f"{folder / FILE} holds no fingerprints of ours: {error}.") from error


def _parse(raw: bytes) -> list[Seen]:
    import zipfile

    if sum(part.file_size for part in zipfile.ZipFile(io.BytesIO(raw)).infolist()) > 4 * _MOST_BYTES:
        raise ValueError("it unpacks to more than any release holds")
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        head = json.loads(arrays["head"].tobytes().decode())
        return [_one(h, arrays, k) for k, h in enumerate(head)]


def _one(head: dict, arrays: Mapping[str, np.ndarray], k: int) -> Seen:
    target = head["target"]
    named = (head["name"], tuple(head["columns"]), target)
    if "salt" not in head:  # icl 0.1: whole rows, and rows without the target
        whole = arrays[f"rows_{k}" if target is None else f"features_{k}"]
        seen = Seen(*named, np.unique(whole), len(whole), repeat_chance(whole), 64, None)
    else:
        salt = bytes.fromhex(head["salt"]) if head["salt"] else None
        prints = arrays[f"prints_{k}"]
        seen = Seen(*named, prints, int(head["rows"]), float(head["repeats"]), int(head["bits"]), salt)
    words = [seen.name, *seen.columns, *([] if target is None else [target])]
    if not all(isinstance(word, str) for word in words) or seen.prints.dtype != np.uint64 or seen.prints.ndim != 1:
        raise ValueError("names or numbers are of another type")
    if not 1 <= seen.bits <= 64 or not 0 <= seen.repeats <= 1 or not (np.diff(seen.prints.astype(object)) > 0).all():
        raise ValueError("its numbers contradict each other")
    return seen


def rows_seen(seen: Sequence[Seen], frame: pd.DataFrame, labeled: bool) -> tuple[np.ndarray, float, list[str]]:
    """Rows of `frame` that were trained on in any table (n,), the chance of a fresh one to look so, tables that match.

    Rows that look alike by chance are among them.
    """
    known, fresh, tables = np.zeros(len(frame), dtype=bool), 1.0, []
    memo: dict[Any, Any] = {}
    for table in seen:
        found = table.matches(frame, labeled, memo)
        if found is None:
            continue
        fresh *= 1 - table.chance
        known |= found
        if found.any():
            tables.append((int(found.sum()), table.name))
    return known, 1 - fresh, [name for _, name in sorted(tables, key=lambda t: -t[0])]


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
        if len(frame) > _MOST_CHECKED:
            frame = frame.iloc[np.sort(np.random.default_rng(0).permutation(len(frame))[:_MOST_CHECKED])]
            which = f"{which} rows that were compared"
        else:
            which = f"{which} rows"
        known, chance, tables = rows_seen(seen, frame, is_labeled)
        n_known = int(known.sum())
        if n_known > binom.ppf(1 - _CHANCE, len(frame), chance):
            expected = chance * len(frame)
            by_chance = f" (by chance about {expected:.2g} would look so)" if expected >= 0.1 else ""
            raise ValueError(
                f"checkpoint {checkpoint} was fine-tuned on {n_known} of the {len(frame)} {which}{by_chance}, with "
                f"their labels, in {', '.join(tables[:3])}{', ...' if len(tables) > 3 else ''}: its errors there "
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
