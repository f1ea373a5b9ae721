"""Damaged and hostile files: each is read, or refused in a sentence that names it, within bounds of time and memory.

python benchmarks/fuzz_files.py                      # 2,000 files; writes benchmarks/fuzz_files.md

CSV in several encodings and notations, .gz, .bz2, .xz and .zip of it, Parquet and Excel are cut, overwritten, doubled
and spliced at random places, or made of strange cells and names from the start.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import lzma
import random
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from icl.tables.reader import read_table

STRANGE = (
    "", '"', '""', "'", ",", ";", "\t", "\n", "\r", "\r\n", "\x00", "\ufeff", "\x1b[31m", "[/bold]", "<b>", "=1+1", "-",
    "?", "NA", "1e999", "-inf", "nan", "0x10", "1_000", "1,2,3", "1.2.3", "1,5", "(5)", "$", "€ 1", "5%", "%", "007",
    "99/99/9999", "31.02.2023", "03/04/2024", "0000-00-00", "9999-12-31", "1" * 400, "x" * 5_000, "\u202e", "ü", "東",
    "😀", "TRUE", "12:00", "2024-01-01T00:00:00+25:00", "1e-400", "١٢٣", "NaT", "None", "__class__", "Unnamed: 0", " ",
    "a,b", "\\", "2024-13-01",
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "cp1251", "utf-32")


class Maker:
    """Files as bytes, with the ending that belongs to them."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)
        rng = np.random.default_rng(seed)
        n = 60
        self.plain = pd.DataFrame({
            "a": rng.normal(size=n), "b": rng.integers(0, 99, n), "kind": rng.choice(["u", "v"], n),
            "day": pd.date_range("2024-01-01", periods=n).strftime("%d.%m.%Y"), "code": [f"{i:05d}" for i in range(n)],
        })  # fmt: skip
        self.parquet, self.excel = self._binary(self.plain)

    def file(self) -> tuple[str, bytes]:
        kind = self.draw.choice(["csv", "csv", "strange", "strange", "packed", "packed", "parquet", "excel"])
        if kind == "strange":
            return ".csv", self.strange()
        if kind == "parquet":
            return ".parquet", self.damaged(self.parquet)
        if kind == "excel":
            return ".xlsx", self.damaged(self.excel)
        text = self.damaged(self._text().encode(self.draw.choice(ENCODINGS), errors="replace"))
        return (".csv", text) if kind == "csv" else self.packed(text)

    def damaged(self, data: bytes) -> bytes:
        for _ in range(self.draw.randint(0, 3)):
            start, length = self.draw.randrange(len(data) + 1), self.draw.choice([1, 4, 40, 400])
            what = self.draw.randrange(5)
            if what == 0:
                data = data[:start]
            elif what == 1:
                data = data[:start] + self.draw.randbytes(length) + data[start + length :]
            elif what == 2:
                data = data[:start] + data[start + length :]
            elif what == 3:
                data = data[:start] + data[start : start + length] * self.draw.choice([2, 50]) + data[start:]
            else:
                data = data[:start] + self.draw.choice(STRANGE).encode() + data[start:]
        return data

    def packed(self, text: bytes) -> tuple[str, bytes]:
        ending = self.draw.choice([".gz", ".bz2", ".xz", ".zip"])
        if self.draw.random() < 0.03:
            text = b"a,b\n" + self.draw.choice([b"0", b",", b"\n", b"\x00", b'"']) * 3_000_000
        if ending == ".zip":
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for k in range(self.draw.choice([0, 1, 1, 1, 2])):
                    archive.writestr(self.draw.choice(["t.csv", "../t.csv", "/etc/x", "a/b.csv"]) + str(k), text)
            data = file.getvalue()
        else:
            data = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[ending].compress(text)
        return f".csv{ending}", self.damaged(data)

    def strange(self) -> bytes:
        separator, end = self.draw.choice(",;\t|"), self.draw.choice(["\n", "\r\n", "\r"])
        width, height = self.draw.choice([1, 2, 5, 30]), self.draw.choice([0, 1, 5, 60])
        few = self.draw.sample(STRANGE, self.draw.choice([2, 5, 20]))
        lines = [separator.join(self.draw.choice(few) for _ in range(width)) for _ in range(height + 1)]
        return end.join(lines).encode(self.draw.choice(ENCODINGS), errors="replace")

    def _text(self) -> str:
        table = self.plain.copy()
        table.loc[self.draw.randrange(60), self.draw.choice(["a", "b"])] = np.nan
        separator, decimal = self.draw.choice([(",", "."), (";", ","), ("\t", "."), (";", ".")])
        return table.to_csv(index=False, sep=separator, decimal=decimal)

    @staticmethod
    def _binary(table: pd.DataFrame) -> tuple[bytes, bytes]:
        parquet, excel = io.BytesIO(), io.BytesIO()
        table.to_parquet(parquet)
        table.to_excel(excel, index=False)
        return parquet.getvalue(), excel.getvalue()


def try_file(path: Path) -> str:
    """ "read", "refused" (an error that names the file), or what else happened."""
    try:
        read_table(path)
    except (ValueError, OSError) as error:
        return "refused" if path.name in str(error) else f"{type(error).__name__} without the name"
    except Exception as error:
        return type(error).__name__
    return "read"


def fuzz(n: int, seed: int, folder: Path) -> dict:
    maker, outcomes, slowest, bad = Maker(seed), Counter(), 0.0, []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for k in range(n):
        ending, data = maker.file()
        path = folder / f"t{k}{ending}"
        path.write_bytes(data)
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = try_file(path)
        slowest = max(slowest, time.process_time() - start)
        outcomes[(ending, outcome)] += 1
        if outcome not in ("read", "refused"):
            bad.append((path, outcome))
        else:
            path.unlink()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"outcomes": outcomes, "slowest": slowest, "bad": bad, "grown": grown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    found = fuzz(options.n, options.seed, folder)
    endings = sorted({ending for ending, _ in found["outcomes"]})
    rows = [
        f"| {ending} | {found['outcomes'][ending, 'read']} | {found['outcomes'][ending, 'refused']} | "
        f"{sum(c for (e, o), c in found['outcomes'].items() if e == ending and o not in ('read', 'refused'))} |"
        for ending in endings
    ]
    lines = [
        "# Damaged and hostile files", "",
        f"`python benchmarks/fuzz_files.py --n {options.n} --seed {options.seed}`", "",
        "| file | read | refused by name | anything else |", "|---|---|---|---|", *rows, "",
        f"{options.n:,} files; the slowest took {found['slowest']:.1f} s of processor time, the peak of memory grew by "
        f"{found['grown']:.0f} MB.", "",
    ]  # fmt: skip
    options.output.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines), *(f"{path}: {outcome}" for path, outcome in found["bad"]), sep="\n")
    sys.exit(bool(found["bad"]))


if __name__ == "__main__":
    main()
