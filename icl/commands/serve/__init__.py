"""`icl serve`: a page in the browser and an HTTP endpoint, on this machine."""

from __future__ import annotations

from icl.commands.serve.limits import ServeOptions


def serve(**options) -> None:
    """Answer over HTTP: drop a file on a page, read predictions with intervals, and estimates; or ask from a program.

    Needs the extra: pip install '.[serve]'. By default only this machine can connect. Another --host demands a token
    (the environment variable ICL_TOKEN, or one that is made and shown), and has no encryption: put TLS before it.
    For example: icl serve --port 8000
    """
    asked = ServeOptions(**options)
    from icl.commands.serve.run import run_serve

    run_serve(asked)
