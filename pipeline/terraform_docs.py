"""Tables of variables and outputs in the READMEs of Terraform's modules: ``make tf-docs``.

Each README begins with words by hand; the table between two marks is written from the module's files.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

from pipeline import generated

BEGIN = generated.begin("make tf-docs")
HEREDOC = '"<<'  # how python-hcl2 gives a text of several lines


def render(module: Path) -> str:
    """The generated part of a module's README."""
    lines = ["| variable | type | default | what |", "| --- | --- | --- | --- |"]
    for name, block in _blocks(module, "variable"):
        shown = f"`{_text(block['default'])}`" if "default" in block else "required"
        if HEREDOC in str(block.get("default")):
            shown = "several lines"
        lines.append(f"| `{name}` | `{_text(block['type'])}` | {shown} | {_description(block)} |")
    lines += ["", "| output | what |", "| --- | --- |"]
    lines += [f"| `{name}` | {_description(block)} |" for name, block in _blocks(module, "output")]
    made = sorted(
        f"`{kind}.{name}`" for kind, resources in _blocks(module, "resource") for name in _names(resources)
    )
    return "\n".join([BEGIN, "", *lines, "", f"It makes {', '.join(made)}.", "", generated.END])


def refresh(readme: Path) -> bool:
    """Write a README's generated part. Returns whether it was out of date.

    Raises:
        ValueError: The README lacks the marks.
    """
    return generated.refresh(readme, render(readme.parent))


@cache
def _parse(text: str) -> dict[str, Any]:
    return hcl2.loads(text)


def _blocks(module: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Blocks of a kind in a module's files: label, and what is in it."""
    for path in sorted(module.glob("*.tf")):
        for block in _parse(path.read_text(encoding="utf-8")).get(kind, []):
            for label, body in block.items():
                if label.startswith('"'):
                    yield label.strip('"'), body


def _names(resources: dict[str, Any]) -> list[str]:
    return [name.strip('"') for name in resources if name.startswith('"')]


def _description(block: dict[str, Any]) -> str:
    text = str(block["description"])[1:-1]
    return text.replace('\\"', '"').replace("|", "\\|")


def _text(value: object) -> str:
    """A value in one line, as Terraform writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            plain = value.removeprefix("${").removesuffix("}") if value.startswith("${") else value
            return plain.replace("({", "({ ").replace("})", " })")
        case list():
            return f"[{', '.join(_text(item) for item in value)}]"
        case dict():
            items = ", ".join(
                f"{key} = {_text(item)}" for key, item in value.items() if key != "__is_block__"
            )
            return f"{{ {items} }}" if items else "{}"
        case _:
            return str(value)


def main() -> None:
    """Refresh all READMEs below ``terraform/modules``."""
    modules = Path(__file__).parents[1] / "terraform" / "modules"
    for readme in sorted(modules.glob("*/README.md")):
        refresh(readme)


if __name__ == "__main__":
    main()
