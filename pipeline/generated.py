"""Pages of which a part is written from code, between two marks."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end -->"


def begin(command: str) -> str:
    """The mark before the part that a command writes."""
    return f"<!-- written by `{command}`, up to the end mark -->"


def refresh(page: Path, part: str) -> bool:
    """Put a new part, marks included, in the place of the one that a page has.

    Returns:
        Whether the page was out of date.

    Raises:
        ValueError: The page lacks the marks.
    """
    text, start = page.read_text(encoding="utf-8"), part.partition("\n")[0]
    before, begun, rest = text.partition(start)
    _, end, after = rest.partition(END)
    if not begun or not end:
        raise ValueError(f"{page} has not both marks: {start} and {END}")
    fresh = before + part + after
    if fresh == text:
        return False
    page.write_text(fresh, encoding="utf-8")
    return True
