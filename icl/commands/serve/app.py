"""The routes of `icl serve`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, HTTPException, Response, UploadFile

from icl import __version__
from icl.commands.serve import work
from icl.commands.serve.guard import Guard
from icl.commands.serve.limits import ServeOptions

# Of a form's text; a formula is shorter.
Line = Annotated[str, Form(min_length=1, max_length=500)]
Table = Annotated[UploadFile, File(description="CSV or TSV, with names in the first line")]
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is no form."},
    401: {"description": "The token is missing or wrong."},
    403: {"description": "Asked under another name, or by a page from elsewhere."},
    413: {"description": "Larger than this server takes."},
    422: {"description": "The file or what was asked about it cannot be used; `detail` says why."},
    503: {"description": "Too much at once, or not done in time."},
}
_TYPES = {"page.html": "text/html; charset=utf-8", "page.js": "text/javascript", "page.css": "text/css"}


class Workers:
    """Takes so many requests at once and works on one after the other, each for at most so many seconds.

    One thread works, because Python's `warnings.catch_warnings` is the process's: side by side, requests would lose
    their notes or read those of others, and libraries that silence a warning for a moment could silence it for good.
    The network takes all cores as it is. Work that is out of time goes on until it is done, and keeps its place: a
    thread cannot be stopped, so the place is what bounds the load.
    """

    def __init__(self, at_once: int, seconds: float):
        self.free, self.seconds = at_once, seconds
        self.pool = ThreadPoolExecutor(1)

    async def run(self, ask: Callable[..., Any], *args: Any) -> Any:
        if self.free < 1:
            raise HTTPException(503, "as many requests as this server takes are waiting; try again later (--at_once)")
        self.free -= 1
        work = self.pool.submit(ask, *args)
        job = asyncio.wrap_future(work)
        job.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(job), self.seconds)
        except TimeoutError as error:
            waited = work.cancel()  # where it was not begun, nobody waits for it any more
            said = "not begun" if waited else "not done"
            hint = "others came first; try again later" if waited else "send fewer rows"
            raise HTTPException(503, f"{said} in {self.seconds:g} seconds (--seconds); {hint}") from error
        except (ValueError, OSError) as error:
            raise HTTPException(422, str(error)) from error

    def _done(self, job: asyncio.Future) -> None:
        self.free += 1
        if not job.cancelled():
            job.exception()  # looked at, or asyncio would complain of work that nobody waits for any more


def build_app(options: ServeOptions, token: str | None = None) -> Any:
    """The ASGI application; `token` is what every request but those for the page must carry."""
    app = FastAPI(title="icl", version=__version__, docs_url=None, redoc_url=None, openapi_url="/docs.json")
    workers = Workers(options.at_once, options.seconds)

    @app.post("/columns", responses=REFUSALS)
    async def columns(table: Table) -> dict[str, Any]:
        """What each column of the file was taken for."""
        return await workers.run(work.columns, await table.read(), options)

    @app.post("/predict", responses=REFUSALS)
    async def predict(table: Table, target: Line, coverage: Annotated[float, Form(gt=0, lt=1)] = 0.9) -> dict[str, Any]:
        """Predictions of the rows without a target, with intervals (numbers) or sets (classes)."""
        return await workers.run(work.predict, await table.read(), target, coverage, options)

    @app.post("/explain", responses=REFUSALS)
    async def explain(table: Table, target: Line, rows: Annotated[int, Form(ge=1, le=1000)] = 3) -> dict[str, Any]:
        """What each column adds to the predictions of the first rows without a target."""
        return await workers.run(work.explain, await table.read(), target, rows, options)

    @app.post("/estimate", responses=REFUSALS)
    async def estimate(
        table: Table, estimand: Line, outcome: Annotated[str, Form(max_length=200)] = ""
    ) -> dict[str, Any]:
        """An estimate with its interval: "mean: income", "ols: income ~ age + C(sex)", "share: answer = yes" ..."""
        return await workers.run(work.estimate, await table.read(), estimand, outcome or None, options)

    def page(name: str) -> Response:
        return Response((files("icl.commands.serve") / name).read_bytes(), media_type=_TYPES[name])

    app.get("/", include_in_schema=False)(lambda: page("page.html"))
    app.get("/page.js", include_in_schema=False)(lambda: page("page.js"))
    app.get("/page.css", include_in_schema=False)(lambda: page("page.css"))
    hosts = ("127.0.0.1", "localhost", "::1") if options.is_local else None
    return Guard(app, int(options.max_mb * 1e6), token, hosts)
