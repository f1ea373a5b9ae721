"""Reading 100,000 rows of 20 columns: pandas' read_csv, with what the reader decides done by hand, and the reader.

python benchmarks/reading.py        # prints a table; writes benchmarks/reading.md

`read_csv` alone tells numbers from text. The reader also tells dates, amounts, answers, codes, names of rows and text,
and looks at every cell for it. Beside it stands what a person writes to get as far with pandas, on the same file.
Medians of three, alternating, in one process on one thread.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from icl.tables.files import open_table
from icl.tables.reader import read_file, read_table

N, REPEATS = 100_000, 3
HERE = Path(__file__).resolve().parent


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    numbers = {f"x{i}": rng.normal(size=N).round(6) for i in range(10)}
    whole = {f"n{i}": rng.integers(0, 100_000, N) for i in range(5)}
    levels = {f"k{i}": rng.choice(list("abcdefgh"), N) for i in range(3)}
    days = pd.date_range("2000", periods=N, freq="h").strftime("%Y-%m-%d")
    return pd.DataFrame(
        {**numbers, **whole, **levels, "day": days, "note": [f"w{j} text {j * 7 % 1000}" for j in range(N)]}
    )


def european(frame: pd.DataFrame) -> pd.DataFrame:
    out = frame.copy()
    for name in frame.columns[:10]:
        out[name] = [f"{x * 1e4:,.2f} €".translate(str.maketrans(",.", ".,")) for x in frame[name]]
    return out.assign(day=pd.to_datetime(frame["day"]).dt.strftime("%d.%m.%Y"))


def by_hand(path: str) -> pd.DataFrame:
    frame = pd.read_csv(path)
    frame["day"] = pd.to_datetime(frame["day"])
    frame["names rows"] = bool(frame["note"].is_unique)
    return frame


def by_hand_european(path: str) -> pd.DataFrame:
    frame = pd.read_csv(path, sep=";")
    for name in frame.columns[:10]:
        cells = frame[name].str.replace("€", "").str.replace(".", "").str.replace(",", ".")
        frame[name] = pd.to_numeric(cells.str.strip())
    frame["day"] = pd.to_datetime(frame["day"], format="%d.%m.%Y")
    frame["names rows"] = bool(frame["note"].is_unique)
    return frame


def medians(calls: dict[str, Callable]) -> dict[str, tuple[float, float]]:
    """Median seconds on the clock and of the processor."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            clock, processor = time.perf_counter(), time.process_time()
            call()
            taken[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {name: tuple(np.median(pairs, axis=0)) for name, pairs in taken.items()}  # type: ignore[misc]


def memory(path: str) -> int:
    """Peak megabytes of a process that reads a file in parts of 10,000 rows, as `icl predict` does.

    Of its own memory: the peak that `getrusage` gives begins at that of the process which started it.
    """
    code = (
        "import sys; from icl.tables.files import open_table; from icl.tables.reader import read_file\n"
        "f = open_table(sys.argv[2]); one = read_file(f)\n"
        "n = sum(len(p) for p in one.chunks_of(open_table(sys.argv[1]), 10_000, ()))\n"
        "print(next(int(line.split()[1]) // 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    small = str(Path(path).with_name("small.csv"))
    done = subprocess.run(
        [sys.executable, "-c", code, path, small], capture_output=True, text=True, check=True, cwd=HERE.parent
    )
    return int(done.stdout)


def main() -> None:
    pa.set_cpu_count(1)
    lines = [
        "# Time to read a file", "",
        "Made by `python benchmarks/reading.py`: 100,000 rows, 20 columns, medians of three, one thread, beside other",
        "work on two cores: seconds of the processor count.", "",
        "| file | read by | seconds | of the processor | times read_csv |", "|---|---|---|---|---|",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        plain, euro = f"{folder}/plain.csv", f"{folder}/european.csv"
        frame = table()
        frame.to_csv(plain, index=False)
        european(frame).to_csv(euro, index=False, sep=";")
        for path, separator, hand in ((plain, ",", by_hand), (euro, ";", by_hand_european)):
            found = medians({
                "read_csv": lambda path=path, separator=separator: pd.read_csv(path, sep=separator),
                "read_csv and by hand": lambda path=path, hand=hand: hand(path),
                "read_table": lambda path=path: read_table(path),
            })  # fmt: skip
            for name, (clock, processor) in found.items():
                times = processor / found["read_csv"][1]
                lines.append(f"| {Path(path).stem} | {name} | {clock:.2f} | {processor:.2f} | {times:.1f} |")
        assert read_file(open_table(euro)).frame["x0"].dtype.kind == "f"
        frame.head(1_000).to_csv(f"{folder}/small.csv", index=False)
        one = memory(plain)
        with open(f"{folder}/long.csv", "w", encoding="utf-8") as file:
            frame.to_csv(file, index=False)
            for _ in range(3):
                frame.to_csv(file, index=False, header=False)
        four = memory(f"{folder}/long.csv")
    lines += [
        "",
        "Peak memory of a new process that reads in parts of 10,000 rows:",
        f"{one} MB for 100,000 rows, {four} MB for 400,000.",
        "",
    ]
    (HERE / "reading.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB here")


if __name__ == "__main__":
    main()
