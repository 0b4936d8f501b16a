"""The page: one HTML file that needs nothing from any network.

Served and exported pages are the same, but for where they look for newer data. A policy in the page itself
(Content-Security-Policy) lets the browser run its own scripts only, and lets them reach nothing but the
server that it came from.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.dashboard.charts import specifications
from pipeline.errors import FinlakeError

FOLDER: Final = Path(__file__).parent
POLL_SECONDS: Final = 10
# In a process of its own: a JavaScript engine that is needed once does not stay in memory.
_BUNDLE: Final = (
    "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle("
    '"window.vegaEmbed = vegaEmbed;").encode())'
)


def render(model: dict[str, Any], *, live: bool = False) -> str:
    """The page of a model (:func:`pipeline.dashboard.model.read_model`), as HTML.

    Args:
        model: What it shows.
        live: Whether it asks its server for newer data.

    Raises:
        FinlakeError: The library of the charts is not installed.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    library, program = charts_library(), (FOLDER / "page.js").read_text(encoding="utf-8")
    whole = model | {
        "charts": specifications(),
        "live": {"url": "model.json", "seconds": POLL_SECONDS} if live else None,
    }
    return environment.get_template("page.html.j2").render(
        model=model,
        data=as_script_data(whole),
        policy=policy(library, program, live=live),
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        library=library,
        program=program,
        live=live,
    )


def as_script_data(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    r"""JSON that may stand within a ``script`` element: nothing in it can end that element.

    >>> as_script_data({"name": "</script>"})
    '{"name":"\\u003c/script>"}'
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def policy(*scripts: str, live: bool) -> str:
    """The page's Content-Security-Policy: these scripts and no others, and no network but its server."""
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    connect = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def charts_library() -> str:
    """Vega-Embed, Vega-Lite and Vega as one script, out of the package ``vl-convert-python``.

    Raises:
        FinlakeError: It is not installed.
    """
    done = subprocess.run([sys.executable, "-c", _BUNDLE], capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise FinlakeError(
            f"the library of the charts cannot be loaded: {lines[-1] if lines else 'no message'}",
            "pip install 'finlake[lakehouse,dashboard]'",
        )
    # Its names stay its own.
    return "(()=>{" + done.stdout.decode() + "})();"
