"""Which of the two stacks: containers where a Docker engine answers, processes otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from emulator.docker import DockerStack, engine_problem
from emulator.native import NativeStack
from emulator.process import StackError

KIND_VARIABLE = "STACK"
KINDS = ("docker", "native")

Stack = DockerStack | NativeStack


def running_stack(home: Path) -> Stack | None:
    """The stack that runs for this home, whichever it is.

    Raises:
        StackError: It may be Docker's, whose engine does not answer.
    """
    native = NativeStack(home)
    if native.status().state != "down":
        return native
    docker = DockerStack(home)
    docker.require_engine()
    return docker if docker.status().state != "down" else None


def chosen_stack(home: Path, port: int | None = None) -> Stack:
    """The stack to start: the one that ``STACK`` names, the one that runs, or the best there is.

    Raises:
        StackError: ``STACK`` names none, or the other one is running.
    """
    wanted = os.environ.get(KIND_VARIABLE) or None
    if wanted not in (None, *KINDS):
        raise StackError(f"{KIND_VARIABLE} is {wanted!r}; it can be {' or '.join(KINDS)}")
    if wanted == "native" and engine_problem():
        # Whatever may have run in containers, it does not now.
        return NativeStack(home, port, with_spark=True, with_dashboard=True)
    running = running_stack(home)
    if running and wanted and running.kind != wanted:
        raise StackError(f"the {running.kind} stack is running: stop it first (make down)")
    if running:
        wanted = running.kind
    elif wanted is None:
        wanted = "docker" if DockerStack(home).can_be_used() else "native"
    if wanted == "docker":
        return DockerStack(home, port)
    return NativeStack(home, port, with_spark=True, with_dashboard=True)
