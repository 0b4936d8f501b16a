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

    @property
    def with_hint(self) -> str:
        """All that there is to say, in one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class NoAnswerError(FinlakeError):
    """What the lake stands on does not answer (any more), so nothing can be written down there either."""


class UsageError(FinlakeError):
    """The command was called with something that cannot work (exit code 2)."""

    exit_code = 2


# An HTTP client whose connection is refused, or broken off, or whose name server knows no such host.
NO_CONNECTION = (
    "[Cc]onnection refused|error sending request|Could not connect|Connect to \\S+ .*fail"
    "|Unable to execute HTTP request|Connection was closed|[Cc]onnection reset|failed to respond"
)
# The last two are Hadoop's words, when it finds no room for what it is about to upload.
DISK_FULL = (
    "No space left on device|No space available in any of the local directories"
    "|Could not find any valid local directory"
)
GO_ON = "`finlake run` goes on where it ended"


def explain(error: BaseException) -> FinlakeError | None:
    """Recognise what storage, the network, Spark's server or a disk have to say; None for anything else.

    Each is spoken to by several libraries, with exceptions of their own, so their texts are what they
    have in common. What is for people already stays as it is.
    """
    if isinstance(error, FinlakeError):
        return error
    text = str(error)
    where = re.search(r"https?://[^\s/?]+(?:/[a-z0-9.-]+)?", text)
    place = where[0] if where else "the storage"
    if refused := _credentials(text, place):
        return refused
    if "You must specify a region" in text:
        return FinlakeError(
            "no AWS region is set", "set AWS_REGION, or AWS_PROFILE to a profile with a region"
        )
    if "NoSuchBucket" in text:
        return FinlakeError(f"there is no bucket at {place}", "create it with `finlake infra apply`")
    if "StorageFull" in text:  # what LocalStack says for us, see docker/localstack/keep_state.py
        return FinlakeError(
            "the disk of the local AWS is full: nothing more can be stored",
            f"make room where Docker keeps its volumes (`docker system df`); then {GO_ON}",
        )
    if re.search(DISK_FULL, text):
        return FinlakeError(
            "the disk is full", f"make room; nothing that was written whole is lost, and {GO_ON}"
        )
    if re.search("StatusCode.UNAVAILABLE|failed to connect to all addresses", text):
        return FinlakeError(
            "the Spark server does not answer any more", f"start it again with `make up`; then {GO_ON}"
        )
    if re.search(r"\[?INVALID_HANDLE|SESSION_CHANGED", text):
        return FinlakeError("the Spark server was started again in the middle of the run", GO_ON)
    if behind := re.search("(LocalStack|[Tt]he catalogue emulator) cannot be reached", text):
        return NoAnswerError(
            f"the local AWS answers, but {behind[1]} behind it does not",
            f"`make status` tells, `make up` starts it again; then {GO_ON}",
        )
    if re.search(NO_CONNECTION, text):
        return NoAnswerError(f"cannot reach {place}", "is the stack up? `make status` tells")
    if re.search("ServiceUnavailable|503 Service Unavailable|Status Code: 503", text):
        return NoAnswerError(f"{place} is not available", "is the stack up? `make status` tells")
    return None


def no_credentials() -> FinlakeError:
    """Nobody knows who is asking AWS."""
    hint = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return FinlakeError("no AWS credentials were found", hint)


def _credentials(text: str, place: str) -> FinlakeError | None:
    """What is wrong with whoever asks; None when it is something else."""
    if "169.254.169.254" in text or "Unable to locate credentials" in text:
        return no_credentials()
    if re.search(
        r"ExpiredToken|[Tt]oken (included in the request is|has) expired|SSO session .* has expired", text
    ):
        return FinlakeError("the AWS credentials have expired", "log in again, such as by `aws sso login`")
    if refused := re.search(r"not authorized to perform: \S+(?: on resource: \S+)?", text):
        return FinlakeError(f"AWS refuses: {refused[0]}", "whoever asks, person or role, lacks that right")
    if re.search(r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|403 Forbidden", text):
        return FinlakeError(f"{place} refuses access", "check the credentials, such as AWS_PROFILE")
    return None
