"""Work in a process of its own, forked, that is watched: its seconds of processor time and its peak of memory."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_child(work: Callable[[], dict[str, Any]], most_seconds: int) -> dict[str, Any]:
    """What `work` returns, with `seconds` of processor time and `mb` beyond the start.

    It is {"crashed": traceback} where it raised, and {"hung": True} where it was ended after `most_seconds`.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        resource.setrlimit(resource.RLIMIT_CPU, (most_seconds, most_seconds))
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
        before, start = _peak_mb(), time.process_time()
        try:
            found = work()
        except BaseException:
            found = {"crashed": traceback.format_exc()[-2_000:]}
        found |= {"seconds": time.process_time() - start, "mb": _peak_mb() - before}
        os.write(theirs, json.dumps(found).encode()[:60_000])
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
        signal.alarm(10 * most_seconds)
        content = pipe.read()
        signal.alarm(0)
    os.waitpid(child, 0)
    return json.loads(content) if content else {"hung": True, "seconds": float(most_seconds), "mb": 0.0}


def _peak_mb() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
