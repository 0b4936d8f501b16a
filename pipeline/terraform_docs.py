"""Tables of variables and outputs in the READMEs of Terraform's modules: ``make tf-docs``.

Each README begins with words by hand; the table between two marks is written from the module's files.
"""

from __future__ import annotations

import re
from pathlib import Path

BEGIN = "<!-- written by `make tf-docs`, up to the end mark -->"
END = "<!-- end -->"
BLOCK = re.compile(r'^(variable|output|resource) "(\w+)"(?: "(\w+)")? {\n(.*?)^}', re.MULTILINE | re.DOTALL)
DESCRIPTION = re.compile(r'^  description\s*=\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)
VALUE = r"^  {name}\s*= ((?:.|\n)*?)(?=\n(?:  [a-z]|\n|\Z))"


def render(module: Path) -> str:
    """The generated part of a module's README."""
    blocks = [match.groups() for path in sorted(module.glob("*.tf")) for match in BLOCK.finditer(_read(path))]
    lines = ["| variable | type | default | what |", "| --- | --- | --- | --- |"]
    for kind, name, _, body in blocks:
        if kind == "variable":
            default = _value("default", body)
            shown = f"`{default}`" if default is not None else "required"
            lines.append(f"| `{name}` | `{_value('type', body)}` | {shown} | {_description(body)} |")
    lines += ["", "| output | what |", "| --- | --- |"]
    lines += [f"| `{name}` | {_description(body)} |" for kind, name, _, body in blocks if kind == "output"]
    made = sorted({f"`{first}.{second}`" for kind, first, second, _ in blocks if kind == "resource"})
    return "\n".join([BEGIN, "", *lines, "", f"It makes {', '.join(made)}.", "", END])


def refresh(readme: Path) -> bool:
    """Write a README's generated part. Returns whether it was out of date.

    Raises:
        ValueError: The README lacks the marks.
    """
    text = _read(readme)
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} has not both marks: {BEGIN} and {END}")
    fresh = before + render(readme.parent) + after
    if fresh == text:
        return False
    readme.write_text(fresh, encoding="utf-8")
    return True


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _description(body: str) -> str:
    found = DESCRIPTION.search(body)
    return found.group(1).replace('\\"', '"').replace("|", "\\|") if found else ""


def _value(name: str, body: str) -> str | None:
    """An attribute of a variable in one line, as Terraform writes it."""
    found = re.search(VALUE.format(name=name), body, re.MULTILINE)
    if not found:
        return None
    line = ", ".join(part.strip() for part in found.group(1).strip().splitlines())
    line = re.sub(" {2,}", " ", line)
    return re.sub(r"([{(\[]), | *, *(?=[})\]])", lambda m: f"{m.group(1)} " if m.group(1) else " ", line)


def main() -> None:
    """Refresh all READMEs below ``terraform/modules``."""
    modules = Path(__file__).parents[1] / "terraform" / "modules"
    for readme in sorted(modules.glob("*/README.md")):
        refresh(readme)


if __name__ == "__main__":
    main()
