"""The Low cases of benchmarks/hostile.py, and those that held before."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.hostile_cases import MEAN, NAMES, Outcome, case, icl, refused, table


@case("Low", "escape codes in a column name, on the terminal", "they reach it")
def _(folder: Path, release: Path) -> Outcome:
    table().rename(columns={"y": NAMES[4]}).to_csv("t.csv", index=False)
    code, said = icl("estimate", "t.csv", "--predictor", "none", "--outcome", NAMES[4])
    return code == 0 and "\x1b" not in said, f"exit {code}: {said.strip().splitlines()[0]}"


def _cut(ending: str) -> Callable[[Path, Path], Outcome]:
    def run(folder: Path, release: Path) -> Outcome:
        table(2_000).to_csv(f"t.csv{ending}", index=False)
        data = (folder / f"t.csv{ending}").read_bytes()
        (folder / f"t.csv{ending}").write_bytes(data[: len(data) // 2])
        return refused(*icl("estimate", f"t.csv{ending}", "--predictor", "none", "--outcome", "y"))

    return run


for _ending in (".gz", ".bz2", ".xz"):
    case("Low", f"a CSV{_ending} that is cut off", "a traceback")(_cut(_ending))


@case("Low", "Parquet with two columns of one name", "a traceback")
def _(folder: Path, release: Path) -> Outcome:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table([[1.0, 2.0], [3.0, 4.0]], names=["y", "y"]), "t.parquet")
    return refused(*icl("estimate", "t.parquet", "--predictor", "none", "--outcome", "y"))


@case("Low", "Parquet whose pandas metadata is nonsense", "a traceback")
def _(folder: Path, release: Path) -> Outcome:
    import pyarrow as pa
    import pyarrow.parquet as pq

    import icl as toolkit

    rows = pa.table({"y": [1.0, 2.0]}).replace_schema_metadata({"pandas": '{"columns": 3, "index_columns": "x"}'})
    pq.write_table(rows, "t.parquet")
    return toolkit.read_table("t.parquet").shape == (2, 1), "read, 2 x 1"


@case("Low", "a configuration nested 5,000 deep", "a traceback")
def _(folder: Path, release: Path) -> Outcome:
    table().to_csv("t.csv", index=False)
    (folder / "c.yaml").write_text("estimand: " + "[" * 5_000 + "]" * 5_000)
    code, said = icl("estimate", "--config", "c.yaml", "t.csv")
    return code in (1, 2) and "Traceback" not in said, f"exit {code}: {said}"


@case("Low", "`fingerprints.npz` that is no such file", "a traceback")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.names import CheckpointError
    from icl.releases.seen import read_seen

    shutil.copytree(release, "r")
    (folder / "r" / "fingerprints.npz").write_bytes(b"PK\x03\x04 nonsense")
    try:
        read_seen(folder / "r")
        return False, "read"
    except CheckpointError as error:
        return True, str(error).replace(str(folder), ".")


@case("Low", "a gzip of 1 GB of zeros (4 MB)", "2.2 GB of memory")
def _(folder: Path, release: Path) -> Outcome:
    with gzip.open("t.csv.gz", "wb", 1) as file:
        for _ in range(1_000):
            file.write(bytes(1_000_000))
    return refused(*icl("estimate", "t.csv.gz", "--predictor", "none", "--outcome", "y"))


@case("Low", "what a killed run leaves", "hidden partial files for ever")
def _(folder: Path, release: Path) -> Outcome:
    table().to_csv("t.csv", index=False)
    (folder / ".partial-0123abcd-o.csv").write_text("half")
    icl(*MEAN, "o.csv")
    left = sorted(os.listdir(folder))
    return left == ["o.csv", "t.csv"], f"gone at the next run (left: {', '.join(left)}); and see kills.md"


@case("Low", "a disk that is full", "an error that names no file")
def _(folder: Path, release: Path) -> Outcome:
    import resource

    table().to_csv("t.csv", index=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    held, said = refused(*icl(*MEAN, "o.csv"))
    return held and "o.csv" in said, said


@case("Low", "`compare --output` into a folder that is not there", "an error after all the work")
def _(folder: Path, release: Path) -> Outcome:
    import time

    start = time.perf_counter()
    held, said = refused(*icl("compare", "nano", "nano", "--output", "no/o.csv"))
    return held and time.perf_counter() - start < 5, said


@case("Low", "`save_release` onto a symbolic link", "leaves a `.old`, follows links inside")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.folder import load_release, save_release

    shutil.copytree(release, "real")
    (folder / "mine.txt").write_text("mine")
    (folder / "real" / "README.md").unlink(missing_ok=True)
    (folder / "real" / "README.md").symlink_to(folder / "mine.txt")
    os.symlink("real", "link")
    save_release(load_release(release), folder / "link", {"seed": 2})
    kept = (folder / "mine.txt").read_text() == "mine" and (folder / "link").is_symlink()
    left = sorted(os.listdir(folder))
    return kept and left == ["link", "mine.txt", "real"], f"link and foreign file stay; left: {', '.join(left)}"


@case("Low", "two processes write one release 20 times", "ENOTEMPTY")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.folder import load_release, save_release

    model = load_release(release)
    children = []
    for seed in (1, 2):
        if (child := os.fork()) == 0:
            code = 1
            with contextlib.suppress(BaseException):
                for _ in range(20):
                    save_release(model, folder / "r", {"seed": seed})
                code = 0
            os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    load_release(folder / "r")
    return codes == [0, 0] and os.listdir(folder) == ["r"], f"exit codes {codes}, a whole release, nothing beside it"


@case("Low", "classes that begin with = + - @, into CSV", "as they are")
def _(folder: Path, release: Path) -> Outcome:
    rows = table().assign(g=lambda t: np.where(t["x"] > 0, "=cmd|' /C calc'!A0", "@SUM(A1)"))[["x", "z", "g"]]
    rows.to_csv("t.csv", index=False)
    rows.drop(columns="g").to_csv("new.csv", index=False)
    model = ("--checkpoint", str(release), "--members", "1", "--no_check")
    code, said = icl("predict", "t.csv", "new.csv", "--target", "g", *model, "--output", "o.csv")
    cells = set(pd.read_csv("o.csv")["prediction"]) if code == 0 else {said}
    return code == 0 and all(cell.startswith("'") for cell in cells), f"cells {', '.join(sorted(cells))}"


@case("Low", "`JSONARGPARSE_DEFAULT_ENV`, `ICL_ESTIMATE__OUTCOME=x`", "the option changes in silence")
def _(folder: Path, release: Path) -> Outcome:
    table().to_csv("t.csv", index=False)
    os.environ |= {"JSONARGPARSE_DEFAULT_ENV": "true", "ICL_ESTIMATE__OUTCOME": "x"}
    code, said = icl("estimate", "t.csv", "--predictor", "none", "--outcome", "y")
    return code == 0 and "mean of y" in said.lower(), f"exit {code}: {said.strip().splitlines()[0]}"


class _Runs:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@case("Low", "`train.py export` of a checkpoint that runs code", "runs it")
def _(folder: Path, release: Path) -> Outcome:
    import torch

    from icl.releases.names import CheckpointError
    from icl.training.export import export_checkpoint

    torch.save({"progress": {}, "state_dict": {}, "global_step": 1, "x": _Runs()}, "last.ckpt")
    try:
        export_checkpoint("last.ckpt", "exported")
        return False, "exported"
    except CheckpointError as error:
        return not (folder / "executed").exists(), str(error)


@case("Held", "`fingerprints.npz` with a pickle inside", "refused")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.names import CheckpointError
    from icl.releases.seen import read_seen

    shutil.copytree(release, "r")
    np.savez(folder / "r" / "fingerprints.npz", a=np.array([_Runs()], dtype=object), allow_pickle=True)
    try:
        read_seen(folder / "r")
    except CheckpointError as error:
        return not (folder / "executed").exists(), str(error).replace(str(folder), ".")
    return False, "read"


@case("Held", "NULs, an unclosed quote, a cell of 100 MB", "read or refused")
def _(folder: Path, release: Path) -> Outcome:
    said = []
    for name, text in (
        ("nul", "a,b\n1,\0\n"),
        ("quote", 'a,b\n"1,2\n3,4\n'),
        ("cell", "a,b\n" + "x" * 100_000_000 + ",1\n"),
    ):
        (folder / f"{name}.csv").write_text(text)
        code, words = icl("estimate", f"{name}.csv", "--predictor", "none", "--outcome", "b")
        said.append(f"{name}: exit {code}")
        if "Traceback" in words:
            return False, words
    return True, ", ".join(said)


@case("Held", "a tensor header with offsets of 2^60 and a name `../x`", "refused")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.folder import load_release
    from icl.releases.names import CheckpointError

    said = []
    for k, change in enumerate(({"data_offsets": [0, 2**60]}, {"shape": [2**62, 4]})):
        shutil.copytree(release, f"r{k}")
        file = folder / f"r{k}" / "model.safetensors"
        content = file.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        header["../x"] = header.pop("norm.weight") | change
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
        try:
            load_release(folder / f"r{k}")
            return False, "loaded"
        except CheckpointError as error:
            said.append(str(error).replace(str(folder), "."))
    return True, said[0]


@case("Held", "two processes write a release while four, of two threads each, read it and answer", "whole answers")
def _(folder: Path, release: Path) -> Outcome:
    import threading

    import torch

    from icl.releases.folder import load_release, save_release

    X, y = torch.linspace(0, 1, 60).view(1, 20, 3), torch.arange(12.0)[None] % 2
    one, other = copy.deepcopy(load_release(release)), copy.deepcopy(load_release(release))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    expected = []
    for model in (one, other):
        save_release(model, folder / "r", {"seed": 1}, dtype=torch.float32)
        with torch.no_grad():
            expected.append(load_release(folder / "r")(X, y))

    def write(model) -> None:
        for _ in range(10):
            save_release(model, folder / "r", {"seed": 1}, dtype=torch.float32)

    def read() -> None:
        faults: list[str] = []

        def answers() -> None:
            try:
                for _ in range(10):
                    with torch.no_grad():
                        scores = load_release(folder / "r")(X, y)
                    if not any(torch.allclose(scores, e, atol=1e-5) for e in expected):
                        faults.append("an answer of neither model")
            except Exception as fault:
                faults.append(repr(fault))

        threads = [threading.Thread(target=answers) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise RuntimeError(faults[0])

    children = []
    for work in (lambda: write(one), lambda: write(other), read, read, read, read):
        if (child := os.fork()) == 0:
            code = 1
            with contextlib.suppress(BaseException):
                work()
                code = 0
            os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return codes == [0] * 6, f"exit codes {codes}; 80 answers, each of one model or the other; 20 releases written"
