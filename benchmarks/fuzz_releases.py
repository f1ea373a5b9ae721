"""Release folders that somebody has tampered with: each is refused with `CheckpointError`, or answers with numbers.

    python benchmarks/fuzz_releases.py --folders 2000 --out benchmarks/fuzz_releases.md

One thing is changed in a copy of a small release (bytes, lengths, keys, values, headers of tensors, numbers, YAML,
links and devices), and all is read that anybody reads of it, in a process of its own that is watched: seconds of its
time, and memory beyond what importing icl takes. tests/releases/test_hostile.py runs 100 of the folders.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from icl.atomic import write_atomically

if TYPE_CHECKING:
    import torch

# What a field may be replaced by: other types, other sizes, nothing.
VALUES = [
    None, True, False, -1, 0, 1, 3, 2**31, 10**30, 0.5, float("nan"), float("inf"), "", "x", "4", [], [1], {}, {"a": 1},
    96_000, 100_000, "../../etc/passwd", "/dev/zero", "\x1b[31m", "a" * 10_000,
]  # fmt: skip
TYPES = ["F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "C64", "F8_E4M3", "X"]


def tamper(folder: Path, draw: random.Random) -> str:
    """Change one thing in a release folder; what it was."""
    return draw.choice([_bytes, _length, _json_key, _json_text, _header, _weights, _yaml, _place])(folder, draw)


def _file(folder: Path, draw: random.Random) -> Path:
    return folder / draw.choice(sorted(p.name for p in folder.iterdir()))


def _bytes(folder: Path, draw: random.Random) -> str:
    file = _file(folder, draw)
    content = bytearray(file.read_bytes())
    for _ in range(draw.choice([1, 1, 4, 64])):
        # Near the start lie the headers.
        place = draw.randrange(min(len(content), draw.choice([16, 512, len(content)])))
        content[place] = draw.randrange(256)
    file.write_bytes(content)
    return f"bytes of {file.name}"


def _length(folder: Path, draw: random.Random) -> str:
    file = _file(folder, draw)
    content = file.read_bytes()
    keep = draw.choice([0, 1, 8, draw.randrange(len(content)), len(content) - 1])
    more = draw.choice([b"", b"\0", b"\xff" * 9, content, b"[" * 100_000])
    file.write_bytes(content[:keep] + more)
    return f"length of {file.name}"


def _json_key(folder: Path, draw: random.Random) -> str:
    file = folder / draw.choice(["config.json", "provenance.json"])
    facts = json.loads(file.read_text())
    node, key = facts, draw.choice(sorted(facts))
    if isinstance(node[key], dict) and node[key] and draw.random() < 0.7:
        node = node[key]
        key = draw.choice(sorted(node))
    action = draw.choice(["value", "remove", "rename", "nest"])
    if action == "value":
        node[key] = draw.choice(VALUES)
    elif action == "remove":
        del node[key]
    elif action == "rename":
        node[draw.choice(["", "x", "n_layer", "__class__", key.upper()])] = node.pop(key)
    else:
        for _ in range(draw.choice([2, 60, 800])):
            node[key] = [node[key]]
    file.write_text(json.dumps(facts))
    return f"{action} of {key} in {file.name}"


def _json_text(folder: Path, draw: random.Random) -> str:
    file = folder / draw.choice(["config.json", "provenance.json"])
    text = draw.choice(
        ["", "null", "3", "[]", "{}", "{" * 200_000, "[" * 200_000, '{"a":' * 50_000 + "1" + "}" * 50_000,
         '{"model_type": "icl_tabular", "n_layers": ' + "9" * 5_000 + "}", '{"model_type": "icl_tabular"}', "\ufeff{}",
         '"' + "x" * 5_000_000 + '"']
    )  # fmt: skip
    file.write_text(text)
    return f"text of {file.name}"


def _header(folder: Path, draw: random.Random) -> str:
    """Types, shapes, offsets and names in the header of a tensor file."""
    file = folder / draw.choice([p.name for p in folder.glob("*.safetensors")])
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    name = draw.choice(sorted(header))
    part = draw.choice(["name", "size", *(["dtype", "shape", "data_offsets"] if name != "__metadata__" else ["value"])])
    if part == "name":
        header[draw.choice(["", "x", "../x", "blocks.999.up.weight"])] = header.pop(name)
    elif part == "dtype":
        header[name]["dtype"] = draw.choice(TYPES)
    elif part == "shape":
        header[name]["shape"] = draw.choice([[], [0], [2**62, 4], [-1], [1, *header[name]["shape"]], "x", [10**30]])
    elif part == "data_offsets":
        header[name]["data_offsets"] = draw.choice([[0, 0], [0, 2**60], [8, 4], [-4, 4], ["a", "b"]])
    elif part == "value":
        header[name][draw.choice(sorted(header[name]))] = draw.choice(
            ["", "3", "{}", "[" * 50_000, '{"depths": [0]}', 7]
        )
    text = json.dumps(header).encode()
    claimed = draw.choice([0, 2**63, 10**9, size + 8]) if part == "size" else len(text)
    file.write_bytes(claimed.to_bytes(8, "little") + text + content[8 + size :])
    return f"{part} in the header of {file.name}"


def _weights(folder: Path, draw: random.Random) -> str:
    """Numbers that are none, of other types, of another width, or absent."""
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    state = load_file(file)
    name = draw.choice(sorted(state))
    what = draw.choice(["nan", "inf", "int64", "bool", "complex64", "float64", "wider", "absent", "huge"])
    if what in ("nan", "inf"):
        state[name].view(-1)[draw.randrange(state[name].numel())] = float(what)
    elif what == "wider":
        state[name] = torch.cat([state[name], state[name]])
    elif what == "absent":
        del state[name]
    elif what == "huge":
        state[name] = torch.full_like(state[name], 1e300, dtype=torch.float64)  # infinite in float32
    else:
        state[name] = state[name].to(getattr(torch, what))
    save_file(state, file, metadata={"format": "pt"})
    (folder / "provenance.json").unlink()  # which would tell that the file is another one
    return f"weights: {what}"


def _yaml(folder: Path, draw: random.Random) -> str:
    aliases = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}, *a{k - 1}]\n" for k in range(1, 30))
    text = draw.choice(
        [aliases, "data: &d\n  target: *d\n", "data: {target: {min_class_share: x}}", 
         "!!python/object/apply:os.mkdir [x]",
         "[" * 5_000, "data: {max_levels: [1, 2]}", "- " * 50_000, "x" * 10**6, "\x00", "data: 3"]
    )  # fmt: skip
    (folder / "training.yaml").write_text(text)
    return "training.yaml"


def _place(folder: Path, draw: random.Random) -> str:
    """Files that are links, devices, pipes, folders or gone."""
    file = _file(folder, draw)
    what = draw.choice(["/dev/zero", "/etc/passwd", "itself", "folder", "pipe", "gone", "beside"])
    content = file.read_bytes()
    file.unlink()
    if what == "folder":
        file.mkdir()
    elif what == "pipe":
        os.mkfifo(file)
    elif what == "itself":
        file.symlink_to(file.name)
    elif what == "beside":
        (folder / "other").write_bytes(content)
        file.symlink_to("other")
    elif what != "gone":
        file.symlink_to(what)
    return f"{file.name}: {what}"


def copy(release: Path, to: Path) -> Path:
    """A folder to tamper with."""
    return Path(shutil.copytree(release, to))


def scores_of(folder: Path) -> torch.Tensor:
    """Answers of the release to a small table."""
    import torch

    from icl.releases.folder import load_release

    with torch.no_grad():
        return load_release(folder)(torch.linspace(0, 1, 18).view(1, 6, 3), torch.arange(4.0)[None])


def read_everything(folder: Path, expected: torch.Tensor) -> str:
    """Read all that anybody reads of a release: "loads" if it answers as `expected`, or the first line of the refusal.

    Other errors, and other answers, are raised.
    """
    from icl.releases.names import CheckpointError
    from icl.releases.prior_limits import limits_of
    from icl.releases.provenance import origin_of
    from icl.releases.reader_file import has_reader, load_reader
    from icl.releases.seen import read_seen

    refusals = []
    for read in (scores_of, origin_of, read_seen, limits_of, lambda f: load_reader(f) if has_reader(f) else None):
        try:
            found = read(folder)
            assert read is not scores_of or found.equal(expected), "it answers otherwise"
        except CheckpointError as error:
            refusals.append(str(error).splitlines()[0])
    return refusals[0] if refusals else "loads"


def whole_release(folder: Path) -> Path:
    """A small release with all that one can have: fingerprints, a reader, a training configuration."""
    import pandas as pd
    import torch

    from icl.network.config import TabularConfig
    from icl.network.model import TabularTransformer
    from icl.network.reader import Reader, ReaderConfig
    from icl.releases.folder import load_release, save_release
    from icl.releases.reader_file import save_reader
    from icl.releases.seen import described, seen_of, to_bytes

    tuned = seen_of({"t.csv": pd.DataFrame({"a": range(40), "y": range(40)})}, "y")
    raw = to_bytes(tuned)
    facts = {"seed": 1, "finetuning": {"tables": []}, "fingerprints": described(tuned, raw)}
    files = {"fingerprints.npz": raw, "training.yaml": b"data: {priors: [{max_levels: 64}]}\n"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TabularTransformer(TabularConfig(d_embed=16, n_layers=2, n_heads=2, n_thinking_rows=2, n_bins=32))
    save_release(model, folder, facts, dtype=torch.float32, files=files)
    save_reader(Reader(load_release(folder), ReaderConfig(depths=(0, 1))), folder, {"steps": 1})
    return folder


MOST_SECONDS, MOST_MB = 2.0, 500.0
_HANGS = 20  # seconds after which a process is given up


def watched(folder: Path, expected: torch.Tensor) -> dict:
    """What a process of its own makes of a folder: outcome, seconds of processor time, MB beyond where it began."""
    from child import in_child  # beside this file, when it runs as a script

    found = in_child(lambda: {"outcome": read_everything(folder, expected)}, _HANGS)
    if "crashed" in found:
        found["outcome"] = "CRASH " + found["crashed"][-600:]
    return {"outcome": "HANG"} | found


def report(lines: list[dict], seed: int) -> str:
    from machine import describe  # beside this file, when it runs as a script

    kinds = Counter((_kind(line["what"]), _verdict(line)) for line in lines)
    slowest, largest = (max(lines, key=lambda line: line[key]) for key in ("seconds", "mb"))
    bad = [line for line in lines if _verdict(line) == "bad"]
    rows = [
        f"| {kind} | {kinds[kind, 'refused']} | {kinds[kind, 'loads']} | {kinds[kind, 'bad']} |"
        for kind in sorted({kind for kind, _ in kinds})
    ]
    total = Counter(map(_verdict, lines))
    return "\n".join(
        [
            "# Release folders that somebody has tampered with",
            "",
            f"`python benchmarks/fuzz_releases.py --folders {len(lines)} --seed {seed}` on {describe('torch')}.",
            "",
            f"Refused: `CheckpointError`. Loads: what was changed does no harm (a seed in the record, the card), and "
            f"the answers are those of the release. Bad: another error, another answer, more than {MOST_SECONDS:g} s "
            f"of processor time, or more than {MOST_MB:g} MB.",
            "",
            "| changed | refused | loads | bad |",
            "|---|---|---|---|",
            *rows,
            f"| all {len(lines)} | {total['refused']} | {total['loads']} | {total['bad']} |",
            "",
            f"Slowest: {slowest['seconds']:.2f} s ({slowest['what']}). "
            f"Largest: {largest['mb']:.0f} MB ({largest['what']}).",
            *(f"\nBad: {line['what']}: {line['outcome']}" for line in bad),
            "",
        ]
    )


def _kind(what: str) -> str:
    """Without the names and places that were drawn."""
    return what.split(" of ")[0] if " of " in what else what.split(":")[0].split(" in ")[0]


def _verdict(line: dict) -> str:
    if line["seconds"] > MOST_SECONDS or line["mb"] > MOST_MB or line["outcome"].startswith(("CRASH", "HANG")):
        return "bad"
    return "loads" if line["outcome"] == "loads" else "refused"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default: show")
    options = parser.parse_args()
    draw, lines = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as name:
        release = whole_release(Path(name) / "whole")
        expected = scores_of(release)
        if read_everything(release, expected) != "loads":
            sys.exit("the release itself does not load")
        for number in range(options.folders):
            folder = copy(release, Path(name) / "tampered")
            what = tamper(folder, draw)
            lines.append({"what": what} | watched(folder, expected))
            shutil.rmtree(folder)
            if sys.stderr.isatty():
                print(f"\r{number + 1}", end="", file=sys.stderr)
    text = report(lines, options.seed)
    write_atomically(options.out, text) if options.out else print(text)


if __name__ == "__main__":
    main()
