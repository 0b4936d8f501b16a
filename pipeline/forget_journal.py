"""What an erasure writes down, so that one that has broken off can be ended, and nobody loads before that.

It stands apart from the erasure itself, because every run looks at it, Glue's jobs included, and these have
none of the libraries that publish copies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from pipeline.erasure import Person
from pipeline.errors import FinlakeError
from pipeline.settings import Settings
from pipeline.storage import list_objects, read_bytes


@dataclass
class Journal:
    """What an erasure has to know to be done again.

    Attributes:
        customer_id: Whom it erases.
        person: Keys and values to look for.
        marts: Names of the marts that were up to date when it began.
        files: For each Bronze file to be replaced: its ETag before, and SHA-256 of its new content.
    """

    customer_id: str
    person: Person
    marts: list[str] = field(default_factory=list)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """As it is stored."""
        person = {"keys": {name: sorted(keys) for name, keys in self.person.keys.items()}}
        document = {
            "customer_id": self.customer_id,
            "person": person | {"values": sorted(self.person.values)},
            "marts": self.marts,
            "files": self.files,
        }
        return json.dumps(document).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Journal:
        """What was stored."""
        found = json.loads(text)
        keys = {name: set(keys) for name, keys in found["person"]["keys"].items()}
        files = {path: (old, new) for path, (old, new) in found["files"].items()}
        return cls(found["customer_id"], Person(keys, set(found["person"]["values"])), found["marts"], files)


def refuse_while_forgetting(settings: Settings) -> None:
    """Let nobody load anything while an erasure is not at its end.

    Raises:
        FinlakeError: One has broken off; the message says how to end it.
    """
    for info in list_objects(settings.table_uri("ops", "_forget")):
        if found := read_bytes(info.uri):
            who = Journal.from_json(found).customer_id
            raise FinlakeError(
                f"the erasure of customer {who} has not come to its end",
                f"end it: finlake forget {who} --yes",
            )
