"""Errors that are shown to people, without a stack trace."""


class FinlakeError(Exception):
    """Something a user can act on. The message says what is wrong, where, and what to do.

    Args:
        message: What is wrong and where.
        hint: What to do about it, or None.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(FinlakeError):
    """The command was called with something that cannot work (exit code 2)."""

    exit_code = 2
