"""`icl predict` for a folder of Parquet files: one folder in, one out, here or on the workers of Ray."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from icl.commands.outputs import check_folder
from icl.commands.predict import page
from icl.commands.predict.labelled import Labelled, read_labelled
from icl.commands.predict.request import Request
from icl.commands.predict.run import CHUNK_ROWS, fit, query_chunks
from icl.estimators.answers import Wanted
from icl.estimators.arrow import batches_of, schema_like
from icl.estimators.dataset import ScoreShard
from icl.estimators.identity import digest_of, identity_of
from icl.pages.progress import progress
from icl.scale.engines import start
from icl.scale.shards import shards_of, work_through
from icl.tables.files import open_table

# Options that change how the work is done, and no answer.
_ONLY_HOW = ("output", "engine", "workers", "gpus", "device", "check", "memory_gb")


@dataclass(frozen=True, kw_only=True)
class PredictShard(ScoreShard):
    """Answers for the rows of one Parquet file, read as the labelled ones are, beside these rows as they stand."""

    labelled: Labelled
    request: Request

    def parts(self, source: Path) -> Iterator[tuple[Any, Any]]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(source) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said of every part of every file
            read = query_chunks(open_table(source, self.request), self.labelled, self.request, False, None)
            for rows, (X, _) in zip(batches_of(file, CHUNK_ROWS, None, self.like), read, strict=True):
                yield rows, X[list(self.labelled.X.columns)]


def run_folder(train: str, folder: Path, request: Request, console: Any) -> None:
    """Predict every row below `folder` into the folder `request.output`, what is there already left out.

    Raises:
        ValueError, OSError: for what cannot be read, used or written, found before the work begins where possible.
    """
    started = time.perf_counter()
    if request.output in (None, "-"):
        raise ValueError(f"{folder} is a folder; name one for the answers too: --output FOLDER.")
    if request.engine == "ray":
        start()  # what is missing is said before any work
    output = Path(str(request.output)).expanduser()
    shards = shards_of(folder, output)
    check_folder("--output", output)
    train_file = open_table(train, request)
    with progress(console) as step:
        step("reading", None)
        labelled = read_labelled(train_file, open_table(shards[0].source, request), request, same=False)
        step("loading the model", None)
        n_rows = sum(shard.n_rows for shard in shards)
        model, notes = fit(labelled, request, n_rows, started)
        page.show_facts(console, train_file, labelled, request, model, same=False)
        page.show_notes(console, [*labelled.table.notes, *labelled.table.notes_on(request.target), *notes])
        asked = {k: v for k, v in asdict(request).items() if k not in _ONLY_HOW}
        # The same cells may have been read from texts of another form, in which those of the shards are read too.
        read = [replace(t, values=None, look=None, coded=None) for t in labelled.table.columns if t.name in labelled.X]
        identity = {"model": identity_of(model), "asked": asked, "read": digest_of(read)}
        wanted = Wanted(request.proba, tuple(map(float, request.quantiles)), request.interval)
        like = schema_like(shards)
        kept = tuple(name for name in request.id if name in like.names) if request.only_predictions else None
        work = PredictShard(model, wanted, kept, identity, like, labelled=labelled, request=request)
        advance, seen = step("predicting", n_rows), [0]

        def on_shard(done: int, total: int) -> None:
            advance(done - seen[0])
            seen[0] = done

        report = work_through(work, folder, output, request.engine, request.workers, request.gpus, on_shard)
    page.show_folder(console, report.n_rows, report.n_shards, report.n_before, output, time.perf_counter() - started)
