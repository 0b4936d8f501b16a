"""Command line of the stack: ``python -m emulator up|down|status|clean``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emulator.docker import DockerStack
from emulator.native import PORT_VARIABLE, NativeStack, find_home
from emulator.process import StackError
from emulator.stack import chosen_stack, running_stack
from emulator.status import StackStatus, as_json

app = typer.Typer(
    name="emulator",
    help="Start, stop and show the laptop's AWS and its Spark server: in containers where a Docker engine "
    "answers, as processes otherwise (STACK=docker|native).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Home = Annotated[
    Path | None,
    typer.Option(help="Folder for state and log.", show_default=".finlake in the root of this project"),
]
Port = Annotated[
    int | None,
    typer.Option(envvar=PORT_VARIABLE, min=1, max=65535, help="Port on localhost.", show_default="4566"),
]


@app.command(epilog="Example: python -m emulator up --port 4600")
def up(port: Port = None, home: Home = None) -> None:
    """Start the stack and wait until it answers. Its earlier buckets and tables are back."""
    with _errors_for_people():
        stack = chosen_stack(_home(home), port)
        before = stack.status()
        status = stack.up()
        already = "already " if status == before else ""
        out.print(f"The {status.kind} stack is {already}up: {status.endpoint}")
        out.print(f"Spark: {status.spark}, its web pages: {status.spark_ui}")
        if status.dashboard:
            out.print(f"Dashboard: {status.dashboard}")
        out.print(f"For other AWS tools: set -a; . {shlex.quote(str(stack.env_file))}; set +a")


@app.command(epilog="Example: python -m emulator down")
def down(home: Home = None) -> None:
    """Stop the stack. Buckets, objects and tables are kept for the next start."""
    with _errors_for_people():
        stack = running_stack(_home(home))
        if stack and stack.down():
            out.print(f"The {stack.kind} stack is down; its data is kept.")
        else:
            out.print("The stack was not running.")


@app.command(epilog="Example: python -m emulator status --json")
def status(
    home: Home = None,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Show whether the stack runs, and where."""
    with _errors_for_people():
        stack = running_stack(_home(home)) or NativeStack(_home(home))
        found = stack.status()
        if as_json_:
            print(as_json(found))  # noqa: T201  (not through Rich: JSON must stay as it is)
        else:
            out.print(_status_table(found))


@app.command(epilog="Example: python -m emulator clean")
def clean(home: Home = None) -> None:
    """Stop the stack and delete all that it holds: every local bucket, object and table."""
    with _errors_for_people():
        docker = DockerStack(_home(home))
        docker.require_engine()
        NativeStack(_home(home)).clean()
        if docker.can_be_used():
            docker.clean()
        out.print(f"The stack is down and its data is deleted ({docker.home}).")


def _home(home: Path | None) -> Path:
    return home or find_home(Path.cwd())


def _status_table(status: StackStatus) -> Table:
    colour = {"up": "green", "unhealthy": "red", "down": "yellow"}[status.state]
    table = Table(box=None, show_header=False)
    table.add_row("stack", f"[{colour}]{status.state}[/{colour}] ({status.kind})")
    if status.endpoint is not None:
        table.add_row("endpoint", status.endpoint)
    if status.pid is not None:
        table.add_row("process", f"{status.pid}, since {status.started}")
    if status.spark is not None:
        table.add_row("spark", f"{status.spark}, web pages {status.spark_ui}")
    if status.dashboard is not None:
        table.add_row("dashboard", status.dashboard)
    for service, state in status.services.items():
        table.add_row(service, state)
    table.add_row("home", status.home)
    return table


@contextmanager
def _errors_for_people() -> Iterator[None]:
    try:
        yield
    except StackError as error:
        err.print("[red]error:[/red]", end=" ")
        err.print(str(error), markup=False)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
