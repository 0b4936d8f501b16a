"""READMEs of Terraform's modules: complete, and as the modules are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.terraform_docs import refresh, render

TERRAFORM = Path(__file__).parents[2] / "terraform"
MODULES = sorted(path for path in (TERRAFORM / "modules").iterdir() if path.is_dir())


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_is_complete_and_its_readme_is_as_it_is(module: Path) -> None:
    assert {"main.tf", "variables.tf", "outputs.tf", "versions.tf"} <= {
        path.name for path in module.iterdir()
    }
    assert (TERRAFORM / "tests" / f"{module.name}.tftest.hcl").is_file()
    (example,) = module.glob("examples/*/main.tf")
    planned = (TERRAFORM / "tests" / "examples.tftest.hcl").read_text(encoding="utf-8")
    assert f'"./{example.parent.relative_to(TERRAFORM)}"' in planned
    assert render(module) in (module / "README.md").read_text(encoding="utf-8"), "run `make tf-docs`"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_variable_and_output_is_in_the_table(module: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in module.glob("*.tf"))
    names = re.findall(r'^(?:variable|output) "(\w+)"', text, re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \|", render(module), re.MULTILINE)
    assert sorted(rows) == sorted(names)


VARIABLE = """
variable "days" {
  description = "Ages, \\"in days\\" | or none."
  type = object({
    a = number
    b = optional(number, 3)
  })
  default = null

  validation {
    condition = true
  }
}
"""


def test_types_and_defaults_of_several_lines_become_one(tmp_path: Path) -> None:
    (tmp_path / "variables.tf").write_text(VARIABLE)
    kind = "object({ a = number, b = optional(number, 3) })"
    assert f'| `days` | `{kind}` | `null` | Ages, "in days" \\| or none. |' in render(tmp_path)


def test_a_readme_keeps_what_was_written_by_hand(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "# By hand\n<!-- written by `make tf-docs`, up to the end mark -->old<!-- end -->\nAfter\n"
    )
    assert refresh(readme)
    assert not refresh(readme)
    assert readme.read_text().startswith("# By hand\n")
    assert readme.read_text().endswith("\nAfter\n")
    assert "old" not in readme.read_text()


def test_a_readme_without_marks_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# By hand\n")
    with pytest.raises(ValueError, match="has not both marks"):
        refresh(tmp_path / "README.md")
