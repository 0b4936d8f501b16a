"""What services remember beside the emulators: documents in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TABLE = """CREATE TABLE IF NOT EXISTS documents (
    kind TEXT, scope TEXT, name TEXT, id TEXT, document TEXT,
    number INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (kind, scope, name, id))"""


class Store:
    """Documents by kind, scope (account and region), name (of a job, ...) and id (of a run, ...).

    Args:
        path: The file; None keeps everything in memory.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._base = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=NORMAL")
        self._base.execute(_TABLE)

    def put(self, kind: str, scope: str, name: str, identity: str, document: Mapping[str, Any]) -> None:
        """Keep a document, in the place of an earlier one of the same id."""
        with self._lock:
            self._base.execute(
                "INSERT INTO documents (kind, scope, name, id, document) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (kind, scope, name, id) DO UPDATE SET document = excluded.document",
                (kind, scope, name, identity, json.dumps(document)),
            )

    def get(self, kind: str, scope: str, name: str, identity: str = "") -> dict[str, Any] | None:
        """A document, or None."""
        with self._lock:
            row = self._base.execute(
                "SELECT document FROM documents WHERE (kind, scope, name, id) = (?, ?, ?, ?)",
                (kind, scope, name, identity),
            ).fetchone()
        return dict(json.loads(row[0])) if row else None

    def all(self, kind: str, scope: str | None = None, name: str | None = None) -> list[dict[str, Any]]:
        """Documents in the order in which they were first kept."""
        return [document for *_, document in self.rows(kind, scope, name)]

    def rows(
        self, kind: str, scope: str | None = None, name: str | None = None
    ) -> list[tuple[str, str, str, dict[str, Any]]]:
        """Scope, name, id and document, in the order in which they were first kept."""
        with self._lock:
            rows = self._base.execute(
                "SELECT scope, name, id, document FROM documents WHERE kind = ? "
                "AND (? IS NULL OR scope = ?) AND (? IS NULL OR name = ?) ORDER BY number",
                (kind, scope, scope, name, name),
            ).fetchall()
        return [(*keys, json.loads(text)) for *keys, text in rows]

    def delete(self, kind: str, scope: str, name: str, identity: str | None = None) -> int:
        """Forget one document, or all of a name; returns how many there were."""
        with self._lock:
            return self._base.execute(
                "DELETE FROM documents WHERE (kind, scope, name) = (?, ?, ?) AND (? IS NULL OR id = ?)",
                (kind, scope, name, identity, identity),
            ).rowcount

    def close(self) -> None:
        """Close the file."""
        self._base.close()
