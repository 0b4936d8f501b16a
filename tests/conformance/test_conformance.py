"""What the pipeline needs from its emulator: each check on each emulator, beside ``docs/emulators.md``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from checks import Aws, Check, what_happens_instead
from emulators import EMULATORS, Emulator
from page import PAGE, outcomes_in, with_outcomes
from suite import CHECKS

pytestmark = pytest.mark.emulator

HOW_TO_WRITE = "if that is right, write the table anew: make conformance"
DOCUMENTED = outcomes_in(PAGE.read_text(encoding="utf-8"), EMULATORS)
each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)


def described(instead: str | None) -> str:
    return "has no row for it" if instead is None else f"says no ({instead})" if instead else "says yes"


@each_check
def test_an_emulator_does_what_the_table_says(
    emulator: Emulator, aws: Aws, check: Check, seen: dict[str, dict[str, str]], writes: bool
) -> None:
    instead = seen[emulator.name][check.title] = what_happens_instead(check, aws)
    if emulator.used and check.needed:
        assert not instead, f"finlake needs this of {emulator.title}: {check.title}. But: {instead}"
    if not writes:
        documented = DOCUMENTED[emulator.name].get(check.title)
        assert instead == documented, (
            f"{emulator.title}: {check.title}. The run {described(instead)}, {PAGE.name} "
            f"{described(documented)}; {HOW_TO_WRITE}"
        )


def test_the_tables_are_what_a_run_writes(writes: bool) -> None:
    page = PAGE.read_text(encoding="utf-8")
    if not writes:
        assert with_outcomes(page, {}, CHECKS, EMULATORS) == page, f"they are out of date; {HOW_TO_WRITE}"


def test_every_check_was_tried_on_every_emulator(writes: bool) -> None:
    tried = {emulator.name: len(DOCUMENTED[emulator.name]) for emulator in EMULATORS}
    if not writes:
        assert tried == dict.fromkeys(tried, len(CHECKS)), HOW_TO_WRITE


def test_titles_and_names_of_checks_are_unique_and_fit_into_a_table() -> None:
    for values in ({check.title for check in CHECKS}, {check.name for check in CHECKS}):
        assert len(values) == len(CHECKS)
    assert [check.title for check in CHECKS if "|" in check.title] == []


# --- the checks themselves ----------------------------------------------------------------------------


class YesMan(BaseHTTPRequestHandler):
    """Says yes to everything, and does nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"{}" if "json" in self.headers.get("Content-Type", "") else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - names that the library asks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def yes_man() -> Iterator[Aws]:
    with ThreadingHTTPServer(("127.0.0.1", 0), YesMan) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield Aws(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


@each_check
def test_a_check_fails_on_an_emulator_that_only_says_yes(yes_man: Aws, check: Check) -> None:
    instead = "it cannot even be tried"
    with suppress(ValueError, TypeError):
        instead = what_happens_instead(check, yes_man)
    assert instead


def check_that(run: object) -> Check:
    return Check("name", "group", "title", needed=False, run=run)


def test_what_happens_instead_is_what_the_check_or_the_emulator_says() -> None:
    def differs(_: Aws) -> None:
        raise AssertionError("it is two")

    def lacks(_: Aws) -> None:
        {}["ETag"]

    nowhere = Aws("http://127.0.0.1:9")
    assert what_happens_instead(check_that(differs), nowhere) == "it is two"
    assert what_happens_instead(check_that(lacks), nowhere) == "an answer has no ETag"
    assert what_happens_instead(check_that(lambda _: None), nowhere) == ""


def test_an_error_of_the_check_itself_is_no_outcome() -> None:
    def breaks(_: Aws) -> None:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        what_happens_instead(check_that(breaks), Aws("http://127.0.0.1:9"))
