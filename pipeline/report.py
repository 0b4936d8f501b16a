"""What a run did, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.dedupe import DISPOSITIONS

if TYPE_CHECKING:
    from pipeline.preview import EntityPreview


@dataclass
class EntityReport:
    """What a run did for one entity."""

    entity: str
    outcomes: Counter[str] = field(default_factory=Counter)
    released: int = 0
    closed: int = 0
    reopened: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    files: int = 0
    left: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None
    preview: EntityPreview | None = None

    @property
    def read(self) -> int:
        """Rows read from Bronze, and rows tried again from quarantine."""
        return self.outcomes.total()

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "entity": self.entity,
            "files": self.files,
            "left_for_later": self.left,
            "read": self.read,
            **{name: self.outcomes[name] for name in DISPOSITIONS},
            "released": self.released,
            "closed": self.closed,
            "reopened": self.reopened,
            "reasons": dict(self.reasons),
            "warnings": dict(self.warnings),
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.read / self.seconds) if self.seconds else 0,
            "notes": self.notes,
            "error": self.error,
            **({"preview": self.preview.as_dict()} if self.preview else {}),
        }


REBUILT, UPDATED = "rebuilt", "updated"  # what a run may have done to a mart


@dataclass
class MartReport:
    """What a run did for one mart."""

    mart: str
    status: str
    seconds: float = 0.0
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "mart": self.mart,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


@dataclass
class RunReport:
    """What a run did, or with ``dry_run`` would do."""

    run_id: str | None
    entities: list[EntityReport] = field(default_factory=list)
    marts: list[MartReport] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """Messages of everything that failed."""
        named = [(entity.entity, entity.error) for entity in self.entities]
        named += [(mart.mart, mart.error) for mart in self.marts]
        return [f"{name}: {error}" for name, error in named if error]

    @property
    def changed(self) -> bool:
        """Whether anything was loaded or rebuilt."""
        return any(entity.files or entity.read for entity in self.entities) or any(
            mart.status in (REBUILT, UPDATED) for mart in self.marts
        )

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "run_id": self.run_id,
            "dry_run": self.dry_run,
            "changed": self.changed,
            "entities": [entity.as_dict() for entity in self.entities],
            "marts": [mart.as_dict() for mart in self.marts],
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "warnings": self.warnings,
            "errors": self.errors,
        }
