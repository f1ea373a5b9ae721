"""What a slot knows and what comes back of it: small files, each whole or not at all."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from icl.atomic import write_atomically
from icl.training.checkpoint_io import WholeCheckpointIO
from icl.training.export import RUN, export_checkpoint

LARGEST_FILE = 15 * 2**20
"""Of what comes back; larger ones may be left behind."""


def age() -> float:
    """Seconds since this process began, its imports included; 0 where the system does not tell."""
    process = Path("/proc/self")
    return min(120.0, max(0.0, time.time() - process.stat().st_ctime)) if process.exists() else 0.0


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


class Slot:
    """The clock, the folder that comes back, and what is known so far."""

    def __init__(self, out: Path, work: Path, minutes: float, device: torch.device, commit: str | None = None):
        self.out, self.work, self.device, self.commit = out, work, device, commit
        self._start = time.monotonic() - age()
        self.end = self._start + 60 * minutes
        self.facts: dict[str, Any] = {"machine": describe("torch", "lightning"), "commit": commit}
        for folder in (out, work):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def seconds(self) -> float:
        """Since the process began."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        line = f"{self.seconds:6.1f} s  {text}"
        print(line, flush=True)
        with open(self.out / "log.txt", "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def note(self, **facts: Any) -> None:
        self.facts |= facts
        write_atomically(self.out / "slot.json", json.dumps(self.facts, indent=2, default=str) + "\n")

    def put(self, name: str, content: bytes) -> bool:
        """A file that comes back, whole or not at all; one that is too large is left out."""
        if len(content) > LARGEST_FILE:
            self.say(f"{name} is left out: {len(content) / 2**20:.1f} MiB")
            return False
        write_atomically(self.out / name, content)
        return True

    def keep(self, checkpoint: dict[str, Any], path: Path) -> None:
        """What a checkpoint of the run holds, in the folder that comes back."""
        release = export_checkpoint(str(path), str(self.work / "kept"))
        self.put("release.zip", zipped(release))
        if not self.put("state.ckpt", path.read_bytes()):
            weights = {name: part for name, part in checkpoint.items() if name != "optimizer_states"}
            buffer = io.BytesIO()
            torch.save(weights, buffer)
            self.put("weights.ckpt", buffer.getvalue())
        self.keep_curve()
        tasks = checkpoint["progress"]["tasks_seen"]
        self.note(kept={"step": checkpoint["global_step"], "tasks": tasks, "second": round(self.seconds)})
        self.say(f"kept step {checkpoint['global_step']:,}, {tasks:,} tasks seen")

    def keep_curve(self) -> None:
        for log in sorted(self.work.glob("log/version_*/metrics.csv"), key=lambda p: p.stat().st_mtime)[-1:]:
            self.put("curve.csv", log.read_bytes())


class Kept(WholeCheckpointIO):
    """Whatever checkpoint the run writes, at a minute, at a signal or at its end, is in the slot's folder too."""

    def __init__(self, slot: Slot):
        self.slot = slot

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        if checkpoint.get(RUN) is not None:
            checkpoint[RUN]["git_commit"] = checkpoint[RUN].get("git_commit") or self.slot.commit
        super().save_checkpoint(checkpoint, path, storage_options)
        try:
            self.slot.keep(checkpoint, Path(path))
        except OSError as error:  # a full disk must not end the training
            print(f"not kept: {error}", flush=True)
