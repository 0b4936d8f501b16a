"""What is known about a stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class StackStatus:
    """What is known about the stack of one home folder.

    Attributes:
        state: ``up`` (answers), ``unhealthy`` (something runs but does not answer) or ``down``.
        home: The folder that holds its connection files.
        kind: ``native`` (processes) or ``docker`` (containers).
        pid: Process id of the AWS emulator, while it runs as a process.
        port: Port for AWS clients on the loopback interface, while it runs.
        endpoint: Address for AWS clients, while it runs.
        started: Time of its start in UTC, ISO 8601, while it runs as a process.
        spark: Address for Spark Connect clients, while a Spark server runs.
        spark_ui: Address of Spark's web pages, while a Spark server runs.
        dashboard: Address of the dashboard, while it is served.
        services: State of each container.
    """

    state: str
    home: str
    kind: str = "native"
    pid: int | None = None
    port: int | None = None
    endpoint: str | None = None
    started: str | None = None
    spark: str | None = None
    spark_ui: str | None = None
    dashboard: str | None = None
    services: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether the stack runs and answers."""
        return self.state == "up"


def as_json(status: StackStatus) -> str:
    """A status as JSON, for scripts."""
    return json.dumps(asdict(status), indent=2)
