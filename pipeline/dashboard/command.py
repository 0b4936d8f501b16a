"""``finlake dashboard``: serve the dashboard, or write it as one file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import FinlakeError, UsageError
from pipeline.present import err, out

PORT_VARIABLE = "FINLAKE_DASHBOARD_PORT"


def dashboard(
    *,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.html",
            help="Write the page into this file or s3:// object instead, or - for stdout.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, envvar=PORT_VARIABLE, show_default="a free one", help="Port on 127.0.0.1."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")] = False,
) -> None:
    """Show Gold's key figures on a page: cash flow, loans, customers, data quality.

    Example: finlake dashboard --export gold.html
    """
    from pipeline.settings import reachable_settings

    settings = reachable_settings()
    if export is not None:
        _export(settings, export, as_json=as_json)
        return
    import asyncio

    from pipeline.dashboard.server import serve

    def ready(url: str) -> None:
        if as_json:
            print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)  # noqa: T201 - for scripts
        else:
            out.print(f"The dashboard is at {url} until Ctrl-C.", highlight=False, soft_wrap=True)

    asyncio.run(serve(settings, "127.0.0.1", port or 0, ready=ready))


def _export(settings: Any, target: str, *, as_json: bool) -> None:  # noqa: ANN401 - Settings, imported late
    from pipeline.dashboard.model import look, read_model
    from pipeline.dashboard.page import render

    if target == "-" and as_json:
        raise UsageError("the page and JSON cannot both go to stdout", "name a file, or leave --json out")
    on_s3, file = target.startswith("s3://"), Path(target)
    if on_s3 and not re.fullmatch("s3://[^/]+/.*[^/]", target):
        raise UsageError(f"{target} cannot be written: it names no object", "s3://bucket/folder/gold.html")
    if not on_s3 and (file.is_dir() or not file.parent.is_dir()):
        where = file if file.is_dir() else file.parent
        raise UsageError(
            f"{target} cannot be written: {where} is {'a' if file.is_dir() else 'no'} folder", "name a file"
        )
    model = read_model(settings, look(settings))
    text = render(model)
    if target == "-":
        print(text)  # noqa: T201 - the page itself
        return
    content = text.encode()
    if on_s3:
        _put(target, content)
    else:
        draft = file.with_name(file.name + ".new")
        try:
            draft.write_bytes(content)
            draft.replace(file)
        except OSError as error:
            raise FinlakeError(f"{target} cannot be written: {error.strerror or error}") from error
    missing = {cube["table"]: cube["missing"] for cube in model["cubes"].values() if "missing" in cube}
    size = len(content)
    if as_json:
        done = {
            "file": target,
            "bytes": size,
            "generated_at": model["generated_at"],
            "missing": sorted(missing),
        }
        print(json.dumps(done, indent=2))  # noqa: T201 - for scripts
        return
    out.print(f"{target}: {size:,} bytes, needs no network", highlight=False, markup=False, soft_wrap=True)
    for table, why in sorted(missing.items()):
        err.print(f"[yellow]Warning:[/yellow] no figures of {table}: {why}", highlight=False, soft_wrap=True)


def _put(uri: str, content: bytes) -> None:
    """Write the page where a browser finds that it is one."""
    from pipeline.errors import explain
    from pipeline.storage import write_bytes

    try:
        write_bytes(uri, content, content_type="text/html; charset=utf-8")
    except Exception as error:
        raise explain(error) or FinlakeError(f"{uri} cannot be written: {error}") from error
