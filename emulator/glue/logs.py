"""A run's output in CloudWatch Logs, as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from emulator.glue.clients import code_of

EVENT_BYTES = 250_000  # CloudWatch's limit is 256 KB with some overhead
BATCH_BYTES = 900_000  # ... and 1 MB for a batch
BATCH_EVENTS = 5_000
CHUNK = 800_000


def batches(lines: list[str]) -> Iterator[list[str]]:
    """Lines in batches that ``PutLogEvents`` takes; a longer line becomes several."""
    batch: list[str] = []
    size = 0
    for line in lines:
        for start in range(0, max(len(line), 1), EVENT_BYTES // 4):  # a character has up to four bytes
            part = line[start : start + EVENT_BYTES // 4]
            length = len(part.encode("utf-8", "replace")) + 26
            if batch and (size + length > BATCH_BYTES or len(batch) == BATCH_EVENTS):
                yield batch
                batch, size = [], 0
            batch.append(part)
            size += length
    if batch:
        yield batch


class LogStream:
    """Sends what is written into a file to a stream of logs.

    Args:
        client: boto3's client of CloudWatch Logs.
        group: Name of the group; it is made when it is not there.
        stream: Name of the stream.
        path: The file.
    """

    def __init__(self, client: Any, group: str, stream: str, path: Path) -> None:  # noqa: ANN401
        self._client = client
        self._group = group
        self._stream = stream
        self._path = path
        self._position = 0

    def send(self, *, last: bool = False) -> None:
        """Send the lines that are whole; at the end also the last one that is not."""
        while True:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read(CHUNK)
            end = data.rfind(b"\n") + 1
            if end == 0 and (last or len(data) == CHUNK):
                end = len(data)
            if end == 0:
                return
            lines = [line for line in data[:end].decode("utf-8", "replace").splitlines() if line.strip()]
            if lines:
                put_lines(self._client, self._group, self._stream, lines)
            self._position += end


def put_lines(client: Any, group: str, stream: str, lines: list[str]) -> None:  # noqa: ANN401
    """Put lines into a stream of logs, which is made if it is not there."""
    for make, names in (
        (client.create_log_group, {"logGroupName": group}),
        (client.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
    ):
        try:
            make(**names)
        except ClientError as error:
            if code_of(error) != "ResourceAlreadyExistsException":
                raise
    now = int(time.time() * 1000)
    for batch in batches(lines):
        client.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": now, "message": line} for line in batch],
        )
