"""What the studies of scale share: rows in a file, the peak memory of processes, and a Ray of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MB = 2**20


class Measurements:
    """Lines of JSON in a file: what was measured is kept, so that a study can be cut into pieces."""

    def __init__(self, path: Path):
        self.path = path

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.is_file() else []

    def find(self, **key: Any) -> dict[str, Any] | None:
        return next((row for row in reversed(self.rows()) if all(row.get(k) == v for k, v in key.items())), None)

    def add(self, row: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def memory_of(pid: int) -> tuple[str, float]:
    """Name of a process, and what it holds now that no other process shares, in MB; nothing of one that is gone."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return "", 0.0
    held = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(("Private_", "Pss_Shmem")))
    return command, held / 1024


def cpu_of(pid: int) -> float:
    """Seconds of processors that a process has used; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family_of(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


@contextlib.contextmanager
def watched(interval: float = 0.5) -> Iterator[dict[str, Any]]:
    """Seconds on the clock and of processors, and the peak memory of this process and of all it started, by kind.

    On a machine with other work the seconds of processors are what can be compared.
    """
    measured: dict[str, Any] = {"peak_mb": {}}
    stop = threading.Event()
    spent: dict[int, float] = {}
    before = {pid: cpu_of(pid) for pid in family_of(os.getpid())}

    def watch() -> None:
        while not stop.wait(interval):
            for pid in family_of(os.getpid()):
                spent[pid] = max(spent.get(pid, 0.0), cpu_of(pid) - before.get(pid, 0.0))
                command, held = memory_of(pid)
                name = "this process" if pid == os.getpid() else _kind(command)
                if name:
                    measured["peak_mb"][name] = round(max(measured["peak_mb"].get(name, 0), held))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    started = time.perf_counter()
    try:
        yield measured
    finally:
        measured["seconds"] = round(time.perf_counter() - started, 1)
        stop.set()
        thread.join()
        spent |= {pid: cpu_of(pid) - before.get(pid, 0.0) for pid in family_of(os.getpid())}
        measured["cpu_seconds"] = round(sum(spent.values()), 1)


def _kind(command: str) -> str:
    if command.startswith("ray::"):
        return "a worker" if "IDLE" not in command else "an idle worker"
    if "raylet" in command or "plasma" in command:
        return "Ray's own"
    return "Ray's own" if "ray" in command or "gcs_server" in command else ""


def start_ray(n_workers: int, object_store_mb: int = 400) -> Any:
    """Ray on this machine, with so many CPUs to give."""
    from icl.scale.engines import start

    for attempt in range(6):
        try:
            return start(num_cpus=n_workers, object_store_memory=object_store_mb * MB)
        except Exception as error:  # its own class: beside other work it may not be up within its thirty seconds
            if "timed out during startup" not in str(error) or attempt == 5:
                raise
            import ray

            ray.shutdown()
    return None
