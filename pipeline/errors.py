"""Errors that are shown to people, without a stack trace."""

from __future__ import annotations

import re


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


def explain(error: BaseException) -> FinlakeError | None:
    """Recognise what storage, the network or the disk have to say; None for anything else.

    S3 is spoken to by several libraries, each with exceptions of its own, so their texts are what
    they have in common.
    """
    text = str(error)
    where = re.search(r"https?://[^\s/?]+(?:/[a-z0-9.-]+)?", text)
    place = where[0] if where else "the storage"
    if "169.254.169.254" in text or "Unable to locate credentials" in text:
        hint = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return FinlakeError("no AWS credentials were found", hint)
    if "You must specify a region" in text:
        return FinlakeError(
            "no AWS region is set", "set AWS_REGION, or AWS_PROFILE to a profile with a region"
        )
    if "NoSuchBucket" in text:
        return FinlakeError(f"there is no bucket at {place}", "create it with `finlake infra apply`")
    if re.search(r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|403 Forbidden", text):
        return FinlakeError(f"{place} refuses access", "check the credentials, such as AWS_PROFILE")
    if "No space left on device" in text:
        return FinlakeError("the disk is full", "make room; nothing that was written whole is lost")
    if re.search(
        r"[Cc]onnection refused|error sending request|Could not connect|Connect to \S+ .*fail", text
    ):
        return FinlakeError(f"cannot reach {place}", "is the stack up? `make status` tells")
    return None
