"""Keeps what LocalStack's free edition would forget when it stops: everything.

LocalStack runs this file inside its own process before it serves the first request (it lies in
``/etc/localstack/init/start.d``). Below the folder named by ``KEEP_STATE_DIR``:

    objects/               the bytes of S3 objects and of parts of uploads, one file per write
    s3-<n>.state           all else about S3, as it was at some moment
    s3-<n>.journal         what happened to objects and uploads since then
    <service>.state        IAM, KMS, Logs, ...

S3 is written before a request is answered, so that not even ``kill -9`` loses what a client was told
is there: a Delta log with a hole would be a broken table. (A power cut may: nothing waits for the disk.)
When the disk is full, what cannot be stored is refused in words that say so; a little room is kept back,
so that objects can still be deleted.
The other services are saved a moment after a change, and when LocalStack stops. What they do by
themselves, such as schedules of EventBridge, begins again only when it is set up again.

With a licence (``LOCALSTACK_AUTH_TOKEN``) LocalStack keeps its state itself, and this does nothing. It
uses inner parts of LocalStack and was written for the versions in ``MADE_FOR``; any other one says in
its log that nothing is kept, and runs as if this file were not there.
"""

from __future__ import annotations

import base64
import copy
import errno
import hashlib
import io
import logging
import os
import pickle
import shutil
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, Literal, Self

from localstack.version import version

try:
    from localstack.aws.api import CommonServiceException
    from localstack.aws.handlers import run_custom_response_handlers
    from localstack.runtime.shutdown import SHUTDOWN_HANDLERS
    from localstack.services.plugins import SERVICE_PLUGINS
    from localstack.services.s3 import provider as s3_provider
    from localstack.services.s3.models import s3_stores
    from localstack.services.s3.storage.core import LimitedStream, should_copy_in_place
    from localstack.services.s3.utils import get_s3_checksum
    from localstack.services.stores import AccountRegionBundle
    from localstack.state import pickle as state_pickle
    from moto.core.base_backend import BackendDict
except ImportError as error:  # another version: see keep_state()
    MISSING: ImportError | None = error
else:
    MISSING = None

MADE_FOR = ("4.14.",)
FOLDER_VARIABLE = "KEEP_STATE_DIR"
SAVE_SECONDS = 1.0
RETRY_SECONDS = 5.0
JOURNAL_RECORDS = 5_000  # then a new snapshot begins a new journal
CHUNK = 1024 * 1024
# Objects are refused while less than this is free: deleting some has to be written down, too.
RESERVE = 16 * 1024 * 1024
ATTEMPTS = 5

# The file of an object or a part: an attribute that is kept with the rest of LocalStack's description.
FILE = "kept_in_file"

READS = ("Get", "List", "Head", "Describe", "Select", "Simulate", "Validate", "Test", "Filter", "Lookup")
ONE_OBJECT = frozenset({"PutObject", "CopyObject", "DeleteObject", "CompleteMultipartUpload"})
UPLOADS = frozenset(
    {
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
        "AbortMultipartUpload",
        "CompleteMultipartUpload",
    }
)
FORGETTABLE = frozenset({"sts"})

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_CODE, FULL_MESSAGE = "StorageFull", "No space left on device: the volume of LocalStack is full."
# Not a 5xx, although it is the server's fault: clients would try these again for a minute, in vain.
FULL_STATUS = HTTPStatus.BAD_REQUEST
FULL_ANSWER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f"<Error><Code>{FULL_CODE}</Code><Message>{FULL_MESSAGE}</Message></Error>"
)

LOG = logging.getLogger("localstack.keep_state")

Mode = Literal["r", "w"]
Foreign = Any  # LocalStack's own objects: models, requests, containers


class StoredFile:
    """The bytes of an object or a part, open for reading or writing; LocalStack's ``S3StoredObject``.

    Each write makes a new file, which takes the old one's place only when it is whole.
    """

    def __init__(
        self, files: Files, s3_object: Foreign, mode: Mode, done: Callable[[StoredFile], object] | None = None
    ) -> None:
        self.s3_object = s3_object
        self.closed = False
        self.name: str | None = uuid.uuid4().hex if mode == "w" else vars(s3_object).get(FILE)
        self._files = files
        self._done = done
        self._digest: Foreign = None
        self._size = 0
        try:
            self._file: IO[bytes] = files.path(self.name).open("w+b" if mode == "w" else "rb")
        except FileNotFoundError as error:  # overwritten or deleted since it was looked up
            raise CommonServiceException("SlowDown", "Please try again.", status_code=503) from error
        except OSError as error:
            _raise_as_full(error)
            raise

    def read(self, size: int | None = -1) -> bytes:
        """Read on from the position."""
        return self._file.read(size if size is not None else -1)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position."""
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        """Cut off the rest."""
        return self._file.truncate(size)

    def write(self, stream: Foreign) -> int:
        """Replace the contents by those of a stream."""
        source = io.BytesIO() if stream is None else stream
        etag = hashlib.md5(usedforsecurity=False)
        self._digest = self._new_digest()
        self._file.seek(0)
        self._file.truncate()
        try:
            while chunk := source.read(CHUNK):
                self._add(chunk)
                etag.update(chunk)
                if self._digest:
                    self._digest.update(chunk)
            self.s3_object.etag = etag.hexdigest()
            self.finish()
        except OSError as error:
            _raise_as_full(error, source)
            raise
        self._file.seek(0)
        return self._size

    def append(self, part: StoredFile) -> int:
        """Add the contents of a part."""
        before = self._file.tell()
        try:
            while chunk := part.read(CHUNK):
                self._add(chunk)
        except OSError as error:
            _raise_as_full(error)
            raise
        return self._file.tell() - before

    def finish(self) -> None:
        """All is written: from now on, this is the file of the object."""
        self._file.flush()
        self._size = self.s3_object.size = self._file.tell()
        self.s3_object.internal_last_modified = time.time_ns()
        setattr(self.s3_object, FILE, self.name)

    def close(self) -> None:
        """Close the file; one that was not finished, or was removed meanwhile, disappears."""
        if not self.closed:
            self.closed = True
            try:
                self._file.close()
            except OSError as error:  # it had not written all
                _raise_as_full(error)
                raise
            finally:
                if self._done:
                    self._done(self)

    @property
    def last_modified(self) -> int:
        """When it was written; always as its description says, since a file is never changed."""
        return int(self.s3_object.internal_last_modified)

    @property
    def etag(self) -> str:
        """MD5 of the contents."""
        etag = hashlib.md5(usedforsecurity=False)
        self._feed(etag.update)
        return etag.hexdigest()

    @property
    def checksum(self) -> str | None:
        """The checksum that the object is to have, in base 64."""
        if not self.s3_object.checksum_algorithm:
            return None
        if self._digest is None:
            self._digest = self._new_digest()
            self._feed(self._digest.update)
        return base64.b64encode(self._digest.digest()).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and vars(self.s3_object).get(FILE) == self.name and self._done:
            delattr(self.s3_object, FILE)  # LocalStack has refused what was written
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(CHUNK):
            yield chunk

    def _add(self, chunk: bytes) -> None:
        self._files.require_room(len(chunk))
        self._file.write(chunk)

    def _new_digest(self) -> Foreign:
        algorithm = self.s3_object.checksum_algorithm
        return get_s3_checksum(algorithm) if algorithm else None

    def _feed(self, update: Callable[[bytes], object]) -> None:
        position = self._file.tell()
        self._file.seek(0)
        for chunk in self:
            update(chunk)
        self._file.seek(position)


class Upload:
    """The parts of a multipart upload; LocalStack's ``S3StoredMultipart``."""

    def __init__(self, files: Files, bucket: str, s3_multipart: Foreign) -> None:
        self.bucket = bucket
        self.s3_multipart = s3_multipart
        self._files = files

    def open(self, s3_part: Foreign, mode: Mode = "r") -> StoredFile:
        """Open a part."""
        return StoredFile(self._files, s3_part, mode, self._files.drop_unfinished if mode == "w" else None)

    def remove_part(self, s3_part: Foreign) -> None:
        """Forget a part."""
        self._files.discard(s3_part.__dict__.pop(FILE, None))

    def complete_multipart(self, parts: list[Foreign]) -> None:
        """Put the parts together."""
        with self._files.open(self.bucket, self.s3_multipart.object, "w") as target:
            for part in parts:
                with self.open(part) as source:
                    target.append(source)
            target.finish()

    def copy_from_object(
        self, s3_part: Foreign, src_bucket: str, src_s3_object: Foreign, range_data: Foreign
    ) -> None:
        """Make a part of an object, or of a range of it."""
        with self._files.open(src_bucket, src_s3_object) as source, self.open(s3_part, "w") as target:
            target.write(LimitedStream(source, range_data=range_data) if range_data else source)
            if s3_part.checksum_algorithm:
                s3_part.checksum_value = target.checksum

    def close(self) -> None:
        """Nothing is open between requests."""


class Files:
    """All bytes of S3; LocalStack's ``S3ObjectStore``."""

    def __init__(self, folder: Path) -> None:
        self.root_directory = str(folder)
        self._folder = folder
        self._slots: dict[tuple[str, str, str], str] = {}  # the file of each version of each object
        self._locks: weakref.WeakValueDictionary[tuple[str, str, str], Foreign] = (
            weakref.WeakValueDictionary()
        )
        self._locks_lock = threading.Lock()
        self._garbage = threading.local()
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str | None) -> Path:
        """Where a file lies."""
        return self._folder / (name or "none")

    def open(self, bucket: str, s3_object: Foreign, mode: Mode = "r") -> StoredFile:
        """Open an object. While one writes an object, others who want to write it wait."""
        if mode == "r":
            return StoredFile(self, s3_object, mode)
        slot = _slot(bucket, s3_object)
        with self._locks_lock:
            lock = self._locks.setdefault(slot, threading.RLock())

        def done(written: StoredFile) -> None:
            if not self.drop_unfinished(written):
                old = self._slots.get(slot)
                self._slots[slot] = str(written.name)
                self.discard(old)
            lock.release()

        lock.acquire()
        try:
            return StoredFile(self, s3_object, mode, done)
        except BaseException:
            lock.release()
            raise

    def remove(self, bucket: str, s3_object: Foreign) -> None:
        """Forget one or several objects."""
        several: list[Foreign] = s3_object if isinstance(s3_object, list) else [s3_object]
        for each in several:
            name = each.__dict__.pop(FILE, None)
            if name and self._slots.get(_slot(bucket, each)) == name:
                del self._slots[_slot(bucket, each)]
            self.discard(name)

    def copy(
        self, src_bucket: str, src_object: Foreign, dest_bucket: str, dest_object: Foreign
    ) -> StoredFile:
        """Copy an object, and leave the copy open."""
        if should_copy_in_place(src_bucket, src_object, dest_bucket, dest_object):
            setattr(dest_object, FILE, vars(src_object).get(FILE))
            dest_object.size = src_object.size
            dest_object.internal_last_modified = src_object.internal_last_modified
            return self.open(dest_bucket, dest_object)
        with self.open(src_bucket, src_object) as source:
            target = self.open(dest_bucket, dest_object, "w")
            try:
                target.write(source)
            except BaseException:
                target.close()
                raise
        return target

    def get_multipart(self, bucket: str, s3_multipart: Foreign) -> Upload:
        """The parts of an upload."""
        return Upload(self, bucket, s3_multipart)

    def remove_multipart(self, bucket: str, s3_multipart: Foreign) -> None:
        """Forget the parts of an upload."""
        del bucket
        for part in s3_multipart.parts.values():
            self.discard(vars(part).get(FILE))

    def create_bucket(self, bucket: str) -> None:
        """Buckets are no folders here."""

    def delete_bucket(self, bucket: str) -> None:
        """Buckets are no folders here."""

    def flush(self) -> None:
        """All is on disk."""

    def close(self) -> None:
        """Nothing is open between requests."""

    def reset(self) -> None:
        """What nothing refers to any more goes with the next start."""

    def require_room(self, size: int) -> None:
        """See that the disk has room for so many bytes.

        Raises:
            OSError: It has not, or only what is kept back.
        """
        if shutil.disk_usage(self._folder).free - size < RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def discard(self, name: str | None) -> None:
        """Delete a file once this request is in the journal."""
        if name:
            self._garbage.__dict__.setdefault("names", []).append(name)

    def sweep(self) -> None:
        """Delete what this thread has discarded."""
        for name in self._garbage.__dict__.pop("names", []):
            self.path(name).unlink(missing_ok=True)

    def spare(self) -> None:
        """Leave what this thread has discarded where it is: the journal still refers to it."""
        self._garbage.__dict__.clear()

    def drop_unfinished(self, written: StoredFile) -> bool:
        """Delete a file that did not become the file of its object; says whether it did not."""
        if vars(written.s3_object).get(FILE) == written.name:
            return False
        self.path(written.name).unlink(missing_ok=True)
        return True

    def adopt(self, buckets: dict[str, Foreign]) -> int:
        """Take over the files of restored buckets and delete all others; returns the number of objects."""
        known = set()
        for name, bucket in buckets.items():
            for each in bucket.objects.values(with_versions=True):
                if file := vars(each).get(FILE):
                    self._slots[_slot(name, each)] = file
                    known.add(file)
            for upload in bucket.multiparts.values():
                known |= {vars(part).get(FILE) for part in upload.parts.values()}
        for path in self._folder.iterdir():
            if path.name not in known:
                path.unlink()
        return len(self._slots)


class S3State:
    """What S3 knows besides bytes: snapshots, and between them a journal of objects and uploads."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files
        self._generation = 0
        self._records = 0
        self._length = 0
        self._journal: IO[bytes] | None = None
        self._journal_lock = threading.Lock()
        self._snapshot_lock = threading.Lock()

    def load(self) -> int:
        """Restore the last snapshot and what came after it; returns the number of objects."""
        snapshots = self._generations("state")
        if snapshots:
            self._generation = snapshots[-1]
            path = self._path(self._generation, "state")
            _restore([s3_stores], state_pickle.loads(path.read_bytes()))
        for generation in self._generations("journal"):
            if generation >= self._generation:
                self._replay(self._path(generation, "journal"))
                self._generation = generation
        objects = self._files.adopt(_buckets())
        self.snapshot()
        return objects

    def record(self, name: str, keys: list[str], uploads: list[str]) -> bool:
        """Write down how objects and uploads of a bucket are now; says whether it is time for a snapshot."""
        with self._journal_lock:
            bucket = _buckets().get(name)
            if bucket is None or self._journal is None:
                return False
            objects = {key: copy.copy(bucket.objects._store.get(key)) for key in keys}
            multiparts = {upload: bucket.multiparts.get(upload) for upload in uploads}
            record = pickle.dumps((name, objects, multiparts))
            if self._journal.write(record) != len(record):  # unbuffered: the disk is full
                self._journal.truncate(self._length)
                raise OSError(errno.ENOSPC, "half of a record was written, and taken back")
            self._length += len(record)
            self._records += 1
            return self._records % JOURNAL_RECORDS == 0

    def snapshot(self) -> None:
        """Save everything, and begin a new journal.

        The journal comes first: what happens while the snapshot is taken is in it, and playing a record
        again that the snapshot has already does no harm.
        """
        with self._snapshot_lock:
            with self._journal_lock:
                journal = self._path(self._generation + 1, "journal").open("ab", buffering=0)
                self._generation += 1
                if self._journal:
                    self._journal.close()
                self._journal = journal
                self._records = self._length = 0
            data = _encode(partial(_describe, [s3_stores]))
            _write_whole(self._path(self._generation, "state"), data)
            for kind in ("state", "journal"):
                for generation in self._generations(kind):
                    if generation < self._generation:
                        self._path(generation, kind).unlink()

    def _replay(self, path: Path) -> None:
        buckets = _buckets()
        with path.open("rb") as journal:
            while True:
                try:
                    name, objects, uploads = pickle.load(journal)
                except EOFError:
                    return
                except pickle.UnpicklingError:  # the last record, when LocalStack was killed writing it
                    LOG.warning("the end of %s is incomplete", path)
                    return
                if bucket := buckets.get(name):
                    _put(bucket.objects._store, objects)
                    _put(bucket.multiparts, uploads)

    def _path(self, generation: int, kind: str) -> Path:
        return self._folder / f"s3-{generation}.{kind}"

    def _generations(self, kind: str) -> list[int]:
        paths = self._folder.glob(f"s3-*.{kind}")
        return sorted(int(path.stem.removeprefix("s3-")) for path in paths)


class Keeper:
    """Restores all state, and saves it as it changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = Files(folder / "objects")
        self._s3 = S3State(folder, self._files)
        self._changed: set[str] = set()
        self._wake = threading.Event()
        self._saving = threading.Lock()
        self._failed: set[str] = set()

    def start(self) -> None:
        """Restore what was kept, then watch the requests."""
        began = time.monotonic()
        s3_provider.EphemeralS3ObjectStore = lambda _folder: self._files
        SERVICE_PLUGINS.require("s3")
        objects = self._s3.load()
        _tell("s3", "on_after_state_load")
        services = [path.stem for path in self._folder.glob("*.state") if not path.stem.startswith("s3-")]
        for service in services:
            self._load(service)
        run_custom_response_handlers.append(self._after_request)
        SHUTDOWN_HANDLERS.register(self.save_changes)
        threading.Thread(target=self._save_soon, name="keep-state", daemon=True).start()
        LOG.info(
            "restored %d objects in %d buckets, and %s, in %.1f s; all changes are kept in %s",
            objects,
            len(_buckets()),
            ", ".join(sorted(services)) or "no other service",
            time.monotonic() - began,
            self._folder,
        )

    def save_changes(self) -> None:
        """Save the services that have changed; those that cannot be saved are left for the next time."""
        with self._saving:
            failed: set[str] = set()
            while self._changed:
                service = self._changed.pop()
                try:
                    if service == "s3":
                        self._s3.snapshot()
                    else:
                        data = _encode(partial(_describe, _containers(service)))
                        _write_whole(self._folder / f"{service}.state", data)
                except Exception:  # it is tried again; requests are served meanwhile
                    failed.add(service)
                    if service not in self._failed:
                        LOG.exception("the state of %s cannot be saved", service)
            self._failed = failed
            self._changed |= failed

    def _after_request(self, _chain: object, context: Foreign, response: Foreign) -> None:
        if not context.service or not context.operation:
            return
        service, operation = context.service.service_name, context.operation.name
        if operation.startswith(READS) or service in FORGETTABLE:
            return
        if service == "s3":
            try:
                self._after_s3(operation, context, is_done=response.status_code < HTTPStatus.BAD_REQUEST)
                self._files.sweep()
            except OSError as error:
                LOG.exception("%s cannot be written down, so it is not confirmed either", operation)
                self._files.spare()
                self._mark("s3")  # it has happened, though: the next snapshot that succeeds has it
                is_full = error.errno in FULL
                response.data = FULL_ANSWER.encode() if is_full else b""
                response.status_code = FULL_STATUS if is_full else HTTPStatus.SERVICE_UNAVAILABLE
        else:
            self._mark(service)

    def _after_s3(self, operation: str, context: Foreign, *, is_done: bool) -> None:
        request, answer = context.service_request or {}, context.service_response or {}
        key, upload = request.get("Key"), request.get("UploadId") or answer.get("UploadId")
        keys = [key] if key and operation in ONE_OBJECT else []
        if operation == "DeleteObjects":
            keys = [each["Key"] for each in request.get("Delete", {}).get("Objects", ())]
        uploads = [upload] if upload and operation in UPLOADS else []
        if keys or uploads:
            if self._s3.record(request["Bucket"], keys, uploads) or request.get("Tagging"):
                self._mark("s3")
        elif key:
            self._mark("s3")  # tags and the like
        elif is_done:
            self._s3.snapshot()  # buckets and their settings: few, and all else is lost with them

    def _mark(self, service: str) -> None:
        self._changed.add(service)
        self._wake.set()

    def _save_soon(self) -> None:
        while True:
            self._wake.wait(RETRY_SECONDS if self._failed else None)
            # Many changes come in bursts (terraform apply): one save serves all of them.
            time.sleep(SAVE_SECONDS)
            self._wake.clear()
            self.save_changes()

    def _load(self, service: str) -> None:
        path = self._folder / f"{service}.state"
        try:
            SERVICE_PLUGINS.require(service)
            _tell(service, "on_before_state_load")
            _restore(_containers(service), state_pickle.loads(path.read_bytes()))
            _tell(service, "on_after_state_load")
        except Exception:
            aside = path.with_suffix(".unreadable")
            path.replace(aside)
            LOG.exception("the state of %s cannot be restored; it was put aside as %s", service, aside)


class _Collector:
    """LocalStack's ``StateVisitor``: shown all containers of a service's state."""

    def __init__(self) -> None:
        self.containers: list[Foreign] = []

    def visit(self, state_container: Foreign) -> None:
        if isinstance(state_container, AccountRegionBundle | BackendDict):
            self.containers.append(state_container)


def _containers(service: str) -> list[Foreign]:
    collector = _Collector()
    SERVICE_PLUGINS.get_service(service).accept_state_visitor(collector)
    return collector.containers


def _tell(service: str, hook: str) -> None:
    getattr(SERVICE_PLUGINS.get_service(service).lifecycle_hook, hook)()


def _describe(containers: list[Foreign]) -> list[Foreign]:
    """The contents of containers, without the containers: plain dictionaries around the models."""
    described: list[Foreign] = []
    for container in containers:
        if isinstance(container, AccountRegionBundle):
            accounts = {
                account: (
                    {name: _still(value) for name, value in list(bundle._global.items())},
                    {region: dict(_attributes(store)) for region, store in list(bundle.items())},
                )
                for account, bundle in list(container.items())
            }
            described.append((dict(container._universal), accounts))
        else:
            described.append({account: dict(regions) for account, regions in list(container.items())})
    return described


def _restore(containers: list[Foreign], described: list[Foreign]) -> None:
    for container, contents in zip(containers, described, strict=True):
        if isinstance(container, AccountRegionBundle):
            universal, accounts = contents
            container._universal.update(universal)
            for account, (shared, regions) in accounts.items():
                for region, attributes in regions.items():
                    vars(container[account][region]).update(attributes)
                container[account]._global.update(shared)
        else:
            for account, regions in contents.items():
                dict.update(container[account], regions)


def _attributes(store: Foreign) -> Iterator[tuple[str, Foreign]]:
    """What a store holds, without its place in the bundle."""
    return ((name, value) for name, value in list(vars(store).items()) if name.startswith("attr_"))


def _still(value: Foreign) -> Foreign:
    """A copy of S3's buckets that does not change while it is saved; anything else as it is."""
    if not isinstance(value, dict):
        return value
    return {
        name: _still_bucket(each) if hasattr(each, "multiparts") else each for name, each in value.items()
    }


def _still_bucket(bucket: Foreign) -> Foreign:
    still = copy.copy(bucket)
    still.multiparts = dict(bucket.multiparts)
    still.objects = copy.copy(bucket.objects)
    still.objects._store = bucket.objects._store.copy()
    for key, entry in still.objects._store.items():
        if isinstance(entry, dict):
            still.objects._store[key] = entry.copy()
    return still


def _buckets() -> dict[str, Foreign]:
    """All buckets of all accounts, by name."""
    found: dict[str, Foreign] = {}
    for bundle in list(s3_stores.values()):
        found |= bundle._global.get("buckets", {})
    return found


def _put(target: dict[str, Foreign], entries: dict[str, Foreign]) -> None:
    for name, entry in entries.items():
        if entry:
            target[name] = entry
        else:
            target.pop(name, None)


def _slot(bucket: str, s3_object: Foreign) -> tuple[str, str, str]:
    return bucket, s3_object.key, s3_object.version_id or "null"


def _encode(describe: Callable[[], Foreign]) -> bytes:
    """Serialise, again if requests change the state meanwhile."""
    for attempt in range(ATTEMPTS):
        try:
            described = describe()
            try:
                return pickle.dumps(described)
            except (TypeError, AttributeError, pickle.PicklingError):
                return bytes(state_pickle.dumps(described))  # slow, but it knows locks and the like
        except RuntimeError:  # dictionary changed size during iteration
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(0.05)
    raise AssertionError


def _write_whole(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".new")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)  # it would only take room
        raise


def _raise_as_full(error: OSError, unread: Foreign = None) -> None:
    """Say in S3's way that the disk is full, if that is what is wrong.

    Raises:
        CommonServiceException: It is. What the client still sends is read first: otherwise it might see a
            connection that breaks off, and no answer.
    """
    if error.errno in FULL:
        while unread is not None and unread.read(CHUNK):
            pass
        raise CommonServiceException(FULL_CODE, FULL_MESSAGE, status_code=FULL_STATUS) from error


def keep_state() -> None:
    """Begin to keep LocalStack's state, if this is a LocalStack that does not do so itself."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    if os.environ.get("LOCALSTACK_AUTH_TOKEN") or os.environ.get("AUTH_TOKEN"):
        LOG.info("with a licence, LocalStack keeps its state itself")
        return
    if MISSING or not version.startswith(MADE_FOR):
        known = ", ".join(f"{each}x" for each in MADE_FOR)
        LOG.error("this is LocalStack %s and not %s: NOTHING IS KEPT when it stops", version, known)
        return
    try:
        Keeper(Path(folder)).start()
    except Exception:
        LOG.exception("NOTHING IS KEPT when LocalStack stops")
        raise


if __name__ != "keep_state":  # LocalStack executes the file; it has no name of its own then
    keep_state()
