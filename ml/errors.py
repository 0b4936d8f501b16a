"""Errors of models that a user can act on."""

from __future__ import annotations


class ModelError(Exception):
    """Data cannot be trained on or scored. The message says what is wrong, the hint what to do.

    Args:
        message: What is wrong.
        hint: What to do about it, or None.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
