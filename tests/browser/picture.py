"""The README's picture of the dashboard, of a stack that runs; such as the one that `make e2e` leaves up.

python -m tests.browser.picture
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pipeline.dashboard.command import PORT_VARIABLE
from pipeline.dashboard.server import PORT
from tests.browser.chromium import chromium
from tests.browser.waiting import settled

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "dashboard.png"


def main() -> None:
    """Open the page, wait until it is drawn, and write what is seen of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    port = os.environ.get(PORT_VARIABLE, str(PORT))
    parser.add_argument("address", nargs="?", default=f"http://localhost:{port}/")
    parser.add_argument("file", nargs="?", type=Path, default=PICTURE)
    options = parser.parse_args()
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme="light")
        page.goto(options.address)
        settled(page)
        page.screenshot(path=options.file)


if __name__ == "__main__":
    main()
