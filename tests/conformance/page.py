"""The tables in ``docs/emulators.md``: from outcomes to text, and from text to outcomes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from checks import Check
from containers import ROOT
from emulators import Emulator

PAGE = ROOT / "docs" / "emulators.md"
BEGIN = "<!-- written by `make conformance`, up to the end mark -->\n"
END = "<!-- end -->\n"
YES = "yes"
UNKNOWN = "not tried"

# What happens instead, by emulator and by a check's title; empty where it does what AWS does.
Outcomes = Mapping[str, Mapping[str, str]]

_ROW = re.compile(r"^\| ([^|]+) \| (?:needed)? ?\| ([^|]+(?: \| [^|]+)*) \|$", re.MULTILINE)
_NOTE = re.compile(r"^\[\^(\d+)\]: (.+)$", re.MULTILINE)
_CELL = re.compile(r"no \[\^(\d+)\]")


def outcomes_in(page: str, emulators: Sequence[Emulator]) -> Outcomes:
    """The outcomes that a page shows."""
    notes = dict(_NOTE.findall(page))
    found: dict[str, dict[str, str]] = {emulator.name: {} for emulator in emulators}
    for title, cells in _ROW.findall(page):
        # Of a page with other columns nothing is known: it is written anew.
        in_row = cells.split(" | ")
        for emulator, cell in zip(emulators, in_row, strict=False) if len(in_row) == len(emulators) else ():
            if cell == YES:
                found[emulator.name][title] = ""
            elif no := _CELL.fullmatch(cell):
                found[emulator.name][title] = notes[no[1]]
    return found


def with_outcomes(
    page: str, outcomes: Outcomes, checks: Sequence[Check], emulators: Sequence[Emulator]
) -> str:
    """A page whose tables show outcomes; what was not tried stays as the page has it."""
    before = outcomes_in(page, emulators)
    known = {each.name: {**before[each.name], **outcomes.get(each.name, {})} for each in emulators}
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + _tables(known, checks, emulators) + END + rest.partition(END)[2]


def _tables(outcomes: Outcomes, checks: Sequence[Check], emulators: Sequence[Emulator]) -> str:
    notes: dict[str, int] = {}  # the same sentence is written once

    def cell(emulator: Emulator, check: Check) -> str:
        instead = outcomes[emulator.name].get(check.title)
        if instead is None:
            return UNKNOWN
        return f"no [^{notes.setdefault(instead, len(notes) + 1)}]" if instead else YES

    def count(emulator: Emulator, of: Sequence[Check]) -> str:
        return f"{sum(outcomes[emulator.name].get(check.title) == '' for check in of)}"

    titles = [emulator.title for emulator in emulators]
    needed = [check for check in checks if check.needed]
    lines = ["", *_head("checks passed", "checks", *titles)]
    for name, of in (("needed by finlake", needed), ("all", checks)):
        lines.append(_line(name, f"{len(of)}", *(count(emulator, of) for emulator in emulators)))
    for group, members in groupby(checks, key=lambda check: check.group):
        lines += ["", f"## {group}", "", *_head("what AWS does", "finlake", *titles)]
        for check in members:
            cells = [cell(emulator, check) for emulator in emulators]
            lines.append(_line(check.title, "needed" if check.needed else "", *cells))
    lines += ["", "## What happens instead", ""]
    lines += [f"[^{number}]: {instead}" for instead, number in notes.items()]
    return "\n".join(lines) + "\n"


def _head(*names: str) -> list[str]:
    return [_line(*names), _line(*("---" for _ in names))]


def _line(*cells: str) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
