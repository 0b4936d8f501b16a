"""Definitions of jobs, crawlers, triggers and workflows: what was written reads back.

The emulator behind keeps them, with their tags and roles, but forgets some fields and shows others that
were never written. So what was written is kept here as well, and laid over what it shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.gateway.local import Context, ServiceError
from emulator.glue.clients import Clients
from emulator.glue.jobs import scope_of
from emulator.store import Store

UNSHOWN = frozenset({"Tags", "StartOnCreation"})


@dataclass(frozen=True)
class Kind:
    """One kind of definitions.

    Attributes:
        name: As in ``Get<name>``.
        plural: As in ``Get<plural>``.
        listed: What a listing calls them.
        key: What a request for one calls its name.
        change: What an update calls the new definition; empty if it stands in the request itself.
        defaults: Values that AWS shows for what was not written.
        own: Fields that only the emulator behind, or we ourselves, know.
    """

    name: str
    plural: str
    listed: str
    key: str
    change: str
    defaults: Mapping[str, Any]
    own: frozenset[str]


_TIMES = frozenset({"Name", "CreatedOn", "LastModifiedOn"})
JOB = Kind(
    "Job",
    "Jobs",
    "Jobs",
    "JobName",
    "JobUpdate",
    {
        "ExecutionProperty": {"MaxConcurrentRuns": 1},
        "MaxRetries": 0,
        "JobMode": "SCRIPT",
        "Timeout": 480,
        "GlueVersion": "5.1",
    },
    _TIMES,
)
CRAWLER = Kind(
    "Crawler",
    "Crawlers",
    "Crawlers",
    "Name",
    "",
    {
        "Classifiers": [],
        "SchemaChangePolicy": {
            "UpdateBehavior": "UPDATE_IN_DATABASE",
            "DeleteBehavior": "DEPRECATE_IN_DATABASE",
        },
        "RecrawlPolicy": {"RecrawlBehavior": "CRAWL_EVERYTHING"},
        "LineageConfiguration": {"CrawlerLineageSettings": "DISABLE"},
        "LakeFormationConfiguration": {"UseLakeFormationCredentials": False, "AccountId": ""},
    },
    frozenset({"Name", "State", "Schedule", "CreationTime", "LastUpdated", "Version", "CrawlElapsedTime"}),
)
TRIGGER = Kind(
    "Trigger", "Triggers", "Triggers", "Name", "TriggerUpdate", {"Actions": []}, frozenset({"Name", "State"})
)
WORKFLOW = Kind("Workflow", "Workflows", "Workflows", "Name", "", {}, _TIMES)
# What each kind of update may not change, and so leaves as it was.
FIXED = {"Trigger": ("Type", "WorkflowName")}


class Definitions:
    """Reads and writes definitions.

    Args:
        clients: Clients of the emulators behind.
        store: Keeps what was written.
    """

    def __init__(self, clients: Clients, store: Store) -> None:
        self._clients = clients
        self._store = store

    def create(self, kind: Kind, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Make one; the answer of the emulator behind."""
        answer = self._call(context, f"create_{kind.name.lower()}", request)
        self._write(kind, context, str(request.get("Name")), request)
        return answer

    def update(self, kind: Kind, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Change one; the answer of the emulator behind."""
        answer = self._call(context, f"update_{kind.name.lower()}", request)
        name = str(request[kind.key])
        before = self._store.get(kind.name, scope_of(context), name) or {}
        if kind is JOB:  # whatever an update does not name is back to its default, as AWS says
            after = dict(request[kind.change])
        else:
            change = request.get(kind.change, {}) if kind.change else request
            after = {**before, **{key: value for key, value in change.items() if key != "Name"}}
        self._write(kind, context, name, {**after, "Name": name})
        return answer

    def delete(self, kind: Kind, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Delete one; the answer of the emulator behind."""
        answer = self._call(context, f"delete_{kind.name.lower()}", request)
        self._store.delete(kind.name, scope_of(context), str(request[kind.key]))
        return answer

    def get(self, kind: Kind, context: Context, name: str) -> dict[str, Any]:
        """One definition.

        Raises:
            ServiceError: ``EntityNotFoundException``.
        """
        if not name:
            raise ServiceError("InvalidInputException", f"{kind.key} is missing")
        found = self._call(context, f"get_{kind.name.lower()}", {kind.key: name})[kind.name]
        return self._shown(kind, context, found)

    def all(self, kind: Kind, context: Context, **request: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """All definitions of a kind."""
        if kind is WORKFLOW:  # the emulator behind lists none
            names = [name for _, name, _, _ in self._store.rows(kind.name, scope_of(context))]
            return [self.get(kind, context, name) for name in sorted(names)]
        found = self._call(context, f"get_{kind.plural.lower()}", request)[kind.listed]
        return [self._shown(kind, context, one) for one in found]

    def _call(self, context: Context, name: str, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self._clients.get(context, "glue"), name)(**request)
        answer.pop("ResponseMetadata", None)
        return answer

    def _write(self, kind: Kind, context: Context, name: str, written: Mapping[str, Any]) -> None:
        kept = {key: value for key, value in written.items() if key not in UNSHOWN}
        self._store.put(kind.name, scope_of(context), name, "", kept)

    def _shown(self, kind: Kind, context: Context, found: Mapping[str, Any]) -> dict[str, Any]:
        return laid_over(kind, found, self._store.get(kind.name, scope_of(context), found["Name"]))


def laid_over(kind: Kind, found: Mapping[str, Any], written: Mapping[str, Any] | None) -> dict[str, Any]:
    """What was written, laid over what the emulator behind shows.

    >>> laid_over(WORKFLOW, {"Name": "w", "MaxConcurrentRuns": 0}, {"Name": "w", "Description": "d"})
    {'Name': 'w', 'Description': 'd'}
    """
    if written is None:  # made while no gateway was there
        return {
            **kind.defaults,
            **{key: value for key, value in found.items() if value not in ({}, "", None)},
        }
    own = {key: value for key, value in found.items() if key in kind.own and value not in ({}, None)}
    more = {key: value for key, value in written.items() if key not in kind.own}
    return {**kind.defaults, **own, **more}
