"""What AWS does: S3."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from datetime import UTC, datetime, timedelta
from http.client import HTTPResponse
from typing import Any
from unittest.mock import patch

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from checks import KEY, NOTHING, REGION, SECRET, Aws, Group, at_once, error_of, only

MIB = 1024 * 1024
ABSENT = '"00000000000000000000000000000000"'  # an ETag that nothing has
FAILED = "412 PreconditionFailed"
CONFLICT = "409 ConditionalRequestConflict"
WRITERS, ROUNDS, BODY = 8, 6, 200_000
ODD_KEYS = (
    "a b", "a+b", "100%", "%2F", "ünï/日本", "x=1&y=2", "a?b#c", "<a>\"'&amp;", "~()*!$@:;,", "a//b", "d/",
)  # fmt: skip


def body_of(s3: Any, bucket: str, key: str, **options: Any) -> bytes:
    return bytes(s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read())


def keys_of(page: dict[str, Any]) -> list[str]:
    return [each["Key"] for each in page.get("Contents", [])]


def status_of(answer: dict[str, Any]) -> int:
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


# --- conditions ---------------------------------------------------------------------------------------

conditions = Group("S3: conditional requests")


@conditions("`If-None-Match: *` lets a put create a key, and refuses it once the key is there", needed=True)
def put_creates_only(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="k", Body=b"first", IfNoneMatch="*")
    error = error_of(s3.put_object, Bucket=bucket, Key="k", Body=b"second", IfNoneMatch="*")
    assert error == FAILED, f"the second put: {error}"
    assert body_of(s3, bucket, "k") == b"first", "the second put replaces the first"


@conditions("`If-None-Match: *`: of many puts at once, exactly one wins", needed=True)
def one_creator_wins(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for number in range(ROUNDS):
        key = f"k{number}"

        def put(writer: int, key: str = key) -> str:
            body = f"{writer}".encode() * BODY
            return error_of(s3.put_object, Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")

        _exactly_one_won(at_once(WRITERS, put), body_of(s3, bucket, key))


@conditions("`If-Match` lets a put replace the object with this ETag, and no other", needed=True)
def put_replaces_what_it_knows(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"first")["ETag"]
    error = error_of(s3.put_object, Bucket=bucket, Key="k", Body=b"wrong", IfMatch=ABSENT)
    assert error == FAILED, f"a put with another ETag: {error}"
    s3.put_object(Bucket=bucket, Key="k", Body=b"second", IfMatch=etag)
    error = error_of(s3.put_object, Bucket=bucket, Key="k", Body=b"third", IfMatch=etag)
    assert error == FAILED, f"a put with an outdated ETag: {error}"
    assert body_of(s3, bucket, "k") == b"second", "a refused put replaces the object"


@conditions("`If-Match`: of many puts at once with the same ETag, exactly one wins", needed=True)
def one_replacer_wins(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for number in range(ROUNDS):
        key = f"k{number}"
        etag = s3.put_object(Bucket=bucket, Key=key, Body=b"before")["ETag"]

        def put(writer: int, key: str = key, etag: str = etag) -> str:
            body = f"{writer}".encode() * BODY
            return error_of(s3.put_object, Bucket=bucket, Key=key, Body=body, IfMatch=etag)

        _exactly_one_won(at_once(WRITERS, put), body_of(s3, bucket, key))


def _exactly_one_won(errors: list[str], body: bytes) -> None:
    winners = [number for number, error in enumerate(errors) if error == NOTHING]
    assert len(winners) > 0, "none wins"
    assert len(winners) == 1, "more than one wins"
    losers = {error for error in errors if error != NOTHING} - {FAILED, CONFLICT}
    assert not losers, f"a loser: {min(losers)}"
    assert body == f"{winners[0]}".encode() * BODY, "the object is not the winner's"


@conditions("`If-Match` on a key that is not there is refused with 404", needed=True)
def nothing_to_replace(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    error = error_of(s3.put_object, Bucket=bucket, Key="k", Body=b"x", IfMatch=ABSENT)
    assert error == "404 NoSuchKey", f"the put: {error}"
    error = error_of(s3.head_object, Bucket=bucket, Key="k")
    assert error == "404", f"the refused put writes: {error}"


@conditions("`If-None-Match: *` also guards the completion of an upload in parts")
def completion_creates_only(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    upload = _upload(s3, bucket, "k", [b"from parts"])
    s3.put_object(Bucket=bucket, Key="k", Body=b"first")
    error = error_of(s3.complete_multipart_upload, **upload, IfNoneMatch="*")
    assert error == FAILED, f"the completion: {error}"
    assert body_of(s3, bucket, "k") == b"first", "the completion replaces the object"


@conditions("a get with `If-Match` fails with 412 once the object is another one", needed=True)
def get_if_still_the_same(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"new")["ETag"]
    assert body_of(s3, bucket, "k", IfMatch=new) == b"new", "a get with the right ETag brings something else"
    error = error_of(s3.get_object, Bucket=bucket, Key="k", IfMatch=old)
    assert error == FAILED, f"a get with an outdated ETag: {error}"


@conditions("a get with `If-None-Match` or `If-Modified-Since` answers 304 when nothing has changed")
def get_if_changed(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"same")["ETag"]
    error = error_of(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)
    assert error == "304", f"If-None-Match: {error}"
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    error = error_of(s3.get_object, Bucket=bucket, Key="k", IfModifiedSince=modified)
    assert error == "304", f"If-Modified-Since: {error}"
    earlier = modified - timedelta(days=1)
    assert body_of(s3, bucket, "k", IfModifiedSince=earlier) == b"same", "a changed object does not come"


# --- puts ----------------------------------------------------------------------------------------------

puts = Group("S3: putting objects")


@puts("what was put is there at once, under its MD5 as ETag, and a second put replaces it whole", needed=True)
def read_after_write(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for number in range(10):
        data = f"{number}".encode() * (1000 - 90 * number)
        etag = s3.put_object(Bucket=bucket, Key="k", Body=data)["ETag"]
        assert etag == f'"{md5(data)}"', "the ETag is not the MD5"
        assert body_of(s3, bucket, "k") == data, "a get brings something else"
        head = s3.head_object(Bucket=bucket, Key="k")
        assert (head["ContentLength"], head["ETag"]) == (len(data), etag), "a head shows something else"
        entry = only(s3.list_objects_v2(Bucket=bucket)["Contents"])
        assert (entry["Size"], entry["ETag"]) == (len(data), etag), "a listing shows something else"


@puts("a reader sees the old object or the new one, never a mixture", needed=True)
def replaced_as_a_whole(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    bodies = [f"{number}".encode() * 300_000 for number in range(3)]
    s3.put_object(Bucket=bucket, Key="k", Body=bodies[0])

    def work(number: int) -> set[bytes]:
        if number < len(bodies):
            for _ in range(20):
                s3.put_object(Bucket=bucket, Key="k", Body=bodies[number])
            return set()
        return {body_of(s3, bucket, "k") for _ in range(20)}

    try:
        seen = set().union(*at_once(2 * len(bodies), work))
    except ClientError:
        raise AssertionError("puts and gets at the same moment fail") from None
    assert seen <= set(bodies), "a get brings a mixture"


@puts("an object of no bytes can be put, and the marker of a folder (`d/`)", needed=True)
def empty_objects(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for key in ("empty", "d/"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        assert body_of(s3, bucket, key) == b"", f"{key} is not empty"
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == ["d/", "empty"], "the listing differs"


@puts("odd keys stay what they are: blanks, `+`, `%`, `ü`, `&`, `?`, quotes, `//`", needed=True)
def odd_keys(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for key in ODD_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        error = error_of(s3.get_object, Bucket=bucket, Key=key)
        assert error == NOTHING, f"a get of `{key}`: {error}"
        assert body_of(s3, bucket, key) == key.encode(), f"`{key}` brings something else"
    listed = keys_of(s3.list_objects_v2(Bucket=bucket))
    changed = sorted(set(ODD_KEYS) - set(listed))
    assert not changed, f"not listed: `{'`, `'.join(changed)}`"
    assert len(listed) == len(ODD_KEYS), "more is listed than there is"
    for key in ODD_KEYS:
        s3.copy_object(Bucket=bucket, Key=f"copy/{key}", CopySource={"Bucket": bucket, "Key": key})
        assert body_of(s3, bucket, f"copy/{key}") == key.encode(), f"a copy of `{key}` is something else"
        s3.delete_object(Bucket=bucket, Key=key)
    assert keys_of(s3.list_objects_v2(Bucket=bucket, Delimiter="/")) == [], "a deleted one is listed"


@puts("`a`, `a/` and `a/b` are three objects that may all be there", needed=True)
def a_key_below_a_key(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for key in ("a", "a/b", "a/"):
        error = error_of(s3.put_object, Bucket=bucket, Key=key, Body=key.encode())
        assert error == NOTHING, f"a put of `{key}`: {error}"
    for key in ("a", "a/b", "a/"):
        assert body_of(s3, bucket, key) == key.encode(), f"`{key}` brings something else"
    s3.delete_object(Bucket=bucket, Key="a")
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == ["a/", "a/b"], "deleting `a` changes the others"


@puts("a key of 1024 bytes is taken, a longer one is refused")
def long_keys(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    key = "k" * 1024
    error = error_of(s3.put_object, Bucket=bucket, Key=key, Body=b"long")
    assert error == NOTHING, f"1024 bytes: {error}"
    assert body_of(s3, bucket, key) == b"long", "1024 bytes: a get brings something else"
    error = error_of(s3.put_object, Bucket=bucket, Key=key + "k", Body=b"x")
    assert error == "400 KeyTooLongError", f"1025 bytes: {error}"


@puts("metadata, `Content-Type`, `Cache-Control` and `Content-Encoding` are kept")
def metadata(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    headers = {
        "ContentType": "text/csv",
        "CacheControl": "no-store",
        "ContentEncoding": "gzip",
        "ContentDisposition": "inline",
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"Batch": "7", "of": "a b+c%"}, **headers)
    for method in (s3.head_object, s3.get_object):
        answer = method(Bucket=bucket, Key="k")
        assert answer["Metadata"] == {"batch": "7", "of": "a b+c%"}, "the metadata differs"
        for name, value in headers.items():
            assert answer.get(name) == value, f"{name} becomes {answer.get(name)}"


@puts("tags of objects are kept, counted, replaced and deleted")
def object_tags(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="layer=silver&of=a%20b")
    tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    wanted = [{"Key": "layer", "Value": "silver"}, {"Key": "of", "Value": "a b"}]
    assert sorted(tags, key=lambda tag: tag["Key"]) == wanted, "the tags of a put differ"
    count = s3.get_object(Bucket=bucket, Key="k").get("TagCount")
    assert count == 2, f"TagCount is {count}"
    new = [{"Key": "layer", "Value": "gold"}]
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": new})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == new, "the tags are not replaced"
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [], "the tags are not deleted"


@puts("checksums are checked and kept: CRC32, SHA-256, `Content-MD5`")
def checksums(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    data = b"checked"
    wrong = base64.b64encode(bytes(4)).decode()
    error = error_of(s3.put_object, Bucket=bucket, Key="k", Body=data, ChecksumCRC32=wrong)
    assert error == "400 BadDigest", f"a wrong CRC32: {error}"
    wrong = base64.b64encode(bytes(16)).decode()
    error = error_of(s3.put_object, Bucket=bucket, Key="k", Body=data, ContentMD5=wrong)
    assert error == "400 BadDigest", f"a wrong Content-MD5: {error}"
    s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm="SHA256")
    kept = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED").get("ChecksumSHA256")
    assert kept == base64.b64encode(hashlib.sha256(data).digest()).decode(), "the SHA-256 is not kept"


@puts("uploads in signed chunks (`aws-chunked`) are decoded, as Hadoop's S3A sends them", needed=True)
def signed_chunks(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    data = bytes(range(256)) * 600
    status = _put_in_signed_chunks(aws, bucket, "k", data)
    assert status == 200, f"the put: {status}"
    assert body_of(s3, bucket, "k") == data, "a get brings something else"
    encoding = s3.head_object(Bucket=bucket, Key="k").get("ContentEncoding", "")
    assert "aws-chunked" not in encoding, "aws-chunked stays in Content-Encoding"


@puts("unsigned chunks with a checksum after them are decoded, as newer SDKs send them")
def checksum_trailers(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    data = bytes(range(256)) * 600
    checksum = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    status = _put_with_trailer(aws, bucket, "k", data, checksum)
    assert status == 200, f"the put: {status}"
    assert body_of(s3, bucket, "k") == data, "a get brings something else"
    kept = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED").get("ChecksumCRC32")
    assert kept in {checksum, None}, "another checksum is kept"


@puts("a wrong checksum after the chunks is refused")
def wrong_checksum_trailers(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    status = _put_with_trailer(aws, bucket, "k", b"data" * 1000, base64.b64encode(bytes(4)).decode())
    assert status == 400, f"the put: {status}"
    error = error_of(s3.head_object, Bucket=bucket, Key="k")
    assert error == "404", f"the refused put writes: {error}"


@puts("`Expect: 100-continue` is answered before the body is sent")
def expect_continue(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    data = b"held back"
    target = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"}).removeprefix(
        aws.endpoint
    )
    connection = aws.connect()
    connection.connect()
    wire = connection.sock
    try:
        wire.settimeout(5)
        head = f"PUT {target} HTTP/1.1\r\nHost: {connection.host}:{connection.port}\r\n"
        wire.sendall(f"{head}Content-Length: {len(data)}\r\nExpect: 100-continue\r\n\r\n".encode())
        try:
            lines = wire.makefile("rb", buffering=0)
            said, _ = lines.readline(), lines.readline()
        except TimeoutError:
            said = b""
        assert said.startswith(b"HTTP/1.1 100 "), "no 100 Continue comes"
        wire.sendall(data)
        answer = HTTPResponse(wire)
        answer.begin()
        assert answer.status == 200, f"after 100 Continue: {answer.status}"
    finally:
        connection.close()
    assert body_of(s3, bucket, "k") == data, "a get brings something else"


class _Signer(S3SigV4Auth):
    """Signs a request of which the body is what is said about it, in place of its digest."""

    def __init__(self, body: str) -> None:
        super().__init__(Credentials(KEY, SECRET), "s3", REGION)
        self.body = body

    def payload(self, request: AWSRequest) -> str:
        return self.body


def _put_in_signed_chunks(aws: Aws, bucket: str, key: str, data: bytes, size: int = 65_536) -> int:
    """A PutObject in chunks, of which each carries a signature that continues the one before."""
    chunks = [data[start : start + size] for start in range(0, len(data), size)] + [b""]
    headers = {"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": str(len(data))}
    request = AWSRequest("PUT", f"{aws.endpoint}/{bucket}/{key}", headers)
    signer = _Signer("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    signer.add_auth(request)
    signature = request.headers["Authorization"].rpartition("Signature=")[2]
    moment, scope = request.headers["X-Amz-Date"], signer.credential_scope(request)
    nothing, coded = hashlib.sha256(b"").hexdigest(), b""
    for chunk in chunks:
        digest = hashlib.sha256(chunk).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", moment, scope, signature, nothing, digest])
        signature = signer.signature(text, request)
        coded += f"{len(chunk):x};chunk-signature={signature}\r\n".encode() + chunk + b"\r\n"
    answer, _ = aws.request("PUT", f"/{bucket}/{key}", coded, dict(request.headers.items()))
    return answer.status


def _put_with_trailer(aws: Aws, bucket: str, key: str, data: bytes, checksum: str) -> int:
    """A PutObject in one unsigned chunk; its checksum comes as a trailer."""
    coded = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(data), data, checksum.encode())
    headers = {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Decoded-Content-Length": str(len(data)),
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "X-Amz-Sdk-Checksum-Algorithm": "CRC32",
    }
    request = AWSRequest("PUT", f"{aws.endpoint}/{bucket}/{key}", headers)
    _Signer("STREAMING-UNSIGNED-PAYLOAD-TRAILER").add_auth(request)
    answer, _ = aws.request("PUT", f"/{bucket}/{key}", coded, dict(request.headers.items()))
    return answer.status


# --- uploads in parts -------------------------------------------------------------------------------

parts = Group("S3: uploads in parts")


def _upload(s3: Any, bucket: str, key: str, data: list[bytes], **options: Any) -> dict[str, Any]:
    """Upload parts; the arguments for completing it."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    where = {"Bucket": bucket, "Key": key, "UploadId": upload}
    done = [
        {"PartNumber": number, "ETag": s3.upload_part(**where, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(data, 1)
    ]
    return where | {"MultipartUpload": {"Parts": done}}


@parts("parts are put together, with metadata, under an ETag with their number (`...-2`)", needed=True)
def parts_become_an_object(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    data = [b"a" * (5 * MIB), b"b" * 17]
    upload = _upload(s3, bucket, "k", data, Metadata={"n": "1"}, ContentType="text/csv")
    error = error_of(s3.head_object, Bucket=bucket, Key="k")
    assert error == "404", f"before its completion the object is there already: {error}"
    etag = s3.complete_multipart_upload(**upload)["ETag"]
    wanted = md5(b"".join(bytes.fromhex(md5(part)) for part in data))
    assert etag == f'"{wanted}-2"', "the ETag has another form"
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ETag"] == etag, "the object has another ETag than its completion"
    assert (head["Metadata"], head["ContentType"]) == ({"n": "1"}, "text/csv"), "the metadata is lost"
    assert body_of(s3, bucket, "k") == b"".join(data), "a get brings something else"


@parts("a part below 5 MiB that is not the last one is refused at the completion")
def small_parts(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    error = error_of(s3.complete_multipart_upload, **_upload(s3, bucket, "k", [b"small", b"last"]))
    assert error == "400 EntityTooSmall", f"the completion: {error}"


@parts("a completion with a wrong ETag, or with parts out of order, is refused")
def wrong_parts(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    upload = _upload(s3, bucket, "k", [b"a" * (5 * MIB), b"b" * (5 * MIB)])
    right = upload["MultipartUpload"]["Parts"]
    upload["MultipartUpload"] = {"Parts": right[::-1]}
    error = error_of(s3.complete_multipart_upload, **upload)
    assert error == "400 InvalidPartOrder", f"out of order: {error}"
    upload["MultipartUpload"] = {"Parts": [right[0], right[1] | {"ETag": ABSENT}]}
    error = error_of(s3.complete_multipart_upload, **upload)
    assert error == "400 InvalidPart", f"a wrong ETag: {error}"


@parts("parts are listed in order and in pages; one that is uploaded again counts once")
def listed_parts(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    for number in (3, 1, 2, 1):
        s3.upload_part(**where, PartNumber=number, Body=b"p" * number)
    listed = s3.list_parts(**where)["Parts"]
    numbers = [(part["PartNumber"], part["Size"]) for part in listed]
    assert numbers == [(1, 1), (2, 2), (3, 3)], f"listed are {numbers}"
    assert listed[1]["ETag"] == f'"{md5(b"pp")}"', "a part's ETag is not its MD5"
    page = s3.list_parts(**where, MaxParts=2)
    assert [part["PartNumber"] for part in page["Parts"]] == [1, 2], "MaxParts does not limit the page"
    assert page["IsTruncated"], "the first page does not say that there is more"
    page = s3.list_parts(**where, MaxParts=2, PartNumberMarker=page["NextPartNumberMarker"])
    assert [part["PartNumber"] for part in page["Parts"]] == [3], "the second page differs"


@parts("unfinished uploads are listed; after an abort there is nothing left of one", needed=True)
def aborted_uploads(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    s3.upload_part(**where, PartNumber=1, Body=b"x")
    listed = [(each["Key"], each["UploadId"]) for each in _uploads(s3, bucket)]
    assert listed == [("k", upload)], "it is not listed"
    s3.abort_multipart_upload(**where)
    assert _uploads(s3, bucket) == [], "it is listed after the abort"
    error = error_of(s3.upload_part, **where, PartNumber=2, Body=b"x")
    assert error == "404 NoSuchUpload", f"a part after the abort: {error}"
    error = error_of(s3.list_parts, **where)
    assert error == "404 NoSuchUpload", f"a listing after the abort: {error}"
    error = error_of(s3.head_object, Bucket=bucket, Key="k")
    assert error == "404", f"the aborted object: {error}"


def _uploads(s3: Any, bucket: str) -> list[dict[str, Any]]:
    return list(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


# --- gets --------------------------------------------------------------------------------------------

gets = Group("S3: getting objects")


@gets("what is not there is 404: `NoSuchKey` for a get, no body for a head, `NoSuchBucket`", needed=True)
def missing_objects(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    error = error_of(s3.get_object, Bucket=bucket, Key="k")
    assert error == "404 NoSuchKey", f"a get: {error}"
    error = error_of(s3.head_object, Bucket=bucket, Key="k")
    assert error == "404", f"a head: {error}"
    for call in (s3.get_object, s3.put_object):
        error = error_of(call, Bucket="no-such-bucket", Key="k")
        assert error == "404 NoSuchBucket", f"in a bucket that is not there: {error}"
    error = error_of(s3.list_objects_v2, Bucket="no-such-bucket")
    assert error == "404 NoSuchBucket", f"a listing of a bucket that is not there: {error}"
    error = error_of(s3.head_bucket, Bucket="no-such-bucket")
    assert error == "404", f"a head of a bucket that is not there: {error}"


@gets("a range brings its bytes with 206 and `Content-Range`, at most to the end", needed=True)
def ranges(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    for wanted, body, shown in (
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-4", b"4", "bytes 4-4/10"),
        ("bytes=6-", b"6789", "bytes 6-9/10"),
        ("bytes=8-20", b"89", "bytes 8-9/10"),
    ):
        answer = s3.get_object(Bucket=bucket, Key="k", Range=wanted)
        assert answer["Body"].read() == body, f"{wanted} brings something else"
        assert status_of(answer) == 206, f"{wanted}: {status_of(answer)}"
        assert answer["ContentRange"] == shown, f"{wanted}: Content-Range is {answer['ContentRange']}"


@gets("a range from the end (`bytes=-3`) brings the last bytes")
def suffix_ranges(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    for wanted, body, shown in (
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-20", b"0123456789", "bytes 0-9/10"),
    ):
        answer = s3.get_object(Bucket=bucket, Key="k", Range=wanted)
        assert answer["Body"].read() == body, f"{wanted} brings something else"
        assert answer["ContentRange"] == shown, f"{wanted}: Content-Range is {answer['ContentRange']}"


@gets("a range that begins behind the end is refused with 416")
def ranges_beyond_the_end(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for data, wanted in ((b"0123456789", "bytes=10-12"), (b"", "bytes=0-1")):
        s3.put_object(Bucket=bucket, Key="k", Body=data)
        error = error_of(s3.get_object, Bucket=bucket, Key="k", Range=wanted)
        assert error == "416 InvalidRange", f"{wanted} of {len(data)} bytes: {error}"


# --- versions ------------------------------------------------------------------------------------------

versions = Group("S3: versions")


@versions("each put makes a version; all are listed, the newest first, and can be got", needed=True)
def old_versions(aws: Aws) -> None:
    s3, bucket = aws.bucket(versions=True)
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"one", b"two")]
    assert body_of(s3, bucket, "k") == b"two", "a get does not bring the newest"
    assert body_of(s3, bucket, "k", VersionId=ids[0]) == b"one", "an old version brings something else"
    listed = s3.list_object_versions(Bucket=bucket)["Versions"]
    wanted = [(ids[1], True), (ids[0], False)]
    assert [(each["VersionId"], each["IsLatest"]) for each in listed] == wanted, "the listing differs"


@versions("a delete hides the object behind a marker; deleting the marker brings it back", needed=True)
def delete_markers(aws: Aws) -> None:
    s3, bucket = aws.bucket(versions=True)
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    deleted = s3.delete_object(Bucket=bucket, Key="k")
    assert deleted.get("DeleteMarker") is True, "the delete tells of no marker"
    assert error_of(s3.get_object, Bucket=bucket, Key="k") == "404 NoSuchKey", "a get still brings it"
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == [], "it is still listed"
    markers = s3.list_object_versions(Bucket=bucket).get("DeleteMarkers", [])
    assert [each["VersionId"] for each in markers] == [deleted["VersionId"]], "the marker is not listed"
    assert body_of(s3, bucket, "k", VersionId=version) == b"x", "the version behind it is gone"
    s3.delete_object(Bucket=bucket, Key="k", VersionId=deleted["VersionId"])
    assert body_of(s3, bucket, "k") == b"x", "it does not come back"


@versions("a version can be deleted for good; the one before is then the newest", needed=True)
def deleted_versions(aws: Aws) -> None:
    s3, bucket = aws.bucket(versions=True)
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"one", b"two")]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=ids[1])
    assert body_of(s3, bucket, "k") == b"one", "the one before is not the newest"
    error = error_of(s3.get_object, Bucket=bucket, Key="k", VersionId=ids[1])
    assert error == "404 NoSuchVersion", f"a get of the deleted version: {error}"
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": ids[0]}]})
    assert not s3.list_object_versions(Bucket=bucket).get("Versions"), "a batch delete leaves it there"
    s3.delete_bucket(Bucket=bucket)
    error = error_of(s3.head_bucket, Bucket=bucket)
    assert error == "404", f"the emptied bucket is not deleted: {error}"


@versions("versions are listed in pages", needed=True)
def pages_of_versions(aws: Aws) -> None:
    s3, bucket = aws.bucket(versions=True)
    ids = [s3.put_object(Bucket=bucket, Key=key, Body=b"x")["VersionId"] for key in ("a", "a", "b", "b")]
    pages = list(
        s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
    )
    listed = [each["VersionId"] for page in pages for each in page.get("Versions", [])]
    assert listed == [ids[1], ids[0], ids[3], ids[2]], "not each is listed once and in order"
    assert len(pages) == 2, f"there are {len(pages)} pages"


# --- listings ------------------------------------------------------------------------------------------

listings = Group("S3: listings")


@listings("keys come in the order of their UTF-8 bytes", needed=True)
def order_of_keys(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    # In UTF-16, U+1F600 would come before U+FF21.
    keys = ["a", "A", "a/b", "a-b", "a b", "ä", "Z", "_", "10", "9", "\uff21", "\U0001f600"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    listed = keys_of(s3.list_objects_v2(Bucket=bucket))
    assert sorted(listed) == sorted(keys), "not each is listed once"
    assert listed == sorted(keys, key=lambda key: key.encode()), "the order is another one"


@listings("pages: `MaxKeys`, a continuation token, each key once", needed=True)
def pages(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    keys = [f"k {number}+%&" for number in range(5)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    first = s3.list_objects_v2(Bucket=bucket, MaxKeys=2)
    assert keys_of(first) == keys[:2], "the first page differs"
    assert (first["IsTruncated"], first["KeyCount"]) == (True, 2), "the first page does not say it is one"
    second = s3.list_objects_v2(Bucket=bucket, MaxKeys=2, ContinuationToken=first["NextContinuationToken"])
    assert keys_of(second) == keys[2:4], "the second page differs"
    third = s3.list_objects_v2(Bucket=bucket, MaxKeys=2, ContinuationToken=second["NextContinuationToken"])
    assert keys_of(third) == keys[4:], "the third page differs"
    assert (third["IsTruncated"], "NextContinuationToken" in third) == (False, False), "there is no last page"


@listings("pages go on behind keys that are not ASCII")
def pages_of_other_letters(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    keys = [f"ü{number}日" for number in range(5)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    pager = s3.get_paginator("list_objects_v2")
    found = list(pager.paginate(Bucket=bucket, PaginationConfig={"PageSize": 2}))
    assert [key for page in found for key in keys_of(page)] == keys, "not each is listed once and in order"
    assert len(found) == 3, f"there are {len(found)} pages"


@listings("`StartAfter` leaves out all keys up to it, with a prefix too", needed=True)
def start_after(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for key in ("log/1", "log/2", "log/3", "other"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    listed = keys_of(s3.list_objects_v2(Bucket=bucket, StartAfter="log/2"))
    assert listed == ["log/3", "other"], f"listed are {listed}"
    # Delta's readers ask like this for what came after a version, which need not be there.
    listed = keys_of(s3.list_objects_v2(Bucket=bucket, Prefix="log/", StartAfter="log/1.5"))
    assert listed == ["log/2", "log/3"], f"with a prefix, listed are {listed}"


@listings("with a delimiter, what is below a folder is one `CommonPrefixes`; it counts in pages", needed=True)
def common_prefixes(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for key in ("t/a/1", "t/a/2", "t/b", "t/c d+ü/1", "u/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")

    def seen(page: dict[str, Any]) -> tuple[list[str], list[str]]:
        return [each["Prefix"] for each in page.get("CommonPrefixes", [])], keys_of(page)

    page = s3.list_objects_v2(Bucket=bucket, Prefix="t/", Delimiter="/")
    assert seen(page) == (["t/a/", "t/c d+ü/"], ["t/b"]), f"listed are {seen(page)}"
    assert page["KeyCount"] == 3, f"KeyCount is {page['KeyCount']}"
    first = s3.list_objects_v2(Bucket=bucket, Prefix="t/", Delimiter="/", MaxKeys=1)
    assert seen(first) == (["t/a/"], []), f"on the first page of one, listed are {seen(first)}"
    token = first["NextContinuationToken"]
    rest = s3.list_objects_v2(Bucket=bucket, Prefix="t/", Delimiter="/", ContinuationToken=token)
    assert seen(rest) == (["t/c d+ü/"], ["t/b"]), f"on the second page, listed are {seen(rest)}"


@listings("after a delete the key is not listed any more, after a put it is", needed=True)
def list_after_write(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"")
        assert f"k{number}" in keys_of(s3.list_objects_v2(Bucket=bucket)), "a new key is not listed"
        if number % 2:
            s3.delete_object(Bucket=bucket, Key=f"k{number}")
            listed = keys_of(s3.list_objects_v2(Bucket=bucket))
            assert f"k{number}" not in listed, "a deleted key is listed"
    assert len(keys_of(s3.list_objects_v2(Bucket=bucket))) == 10, "keys are lost"


@listings("the older `ListObjects` pages by marker")
def list_objects_v1(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    first = s3.list_objects(Bucket=bucket, MaxKeys=2)
    assert (keys_of(first), first["IsTruncated"]) == (["a", "b"], True), "the first page differs"
    second = s3.list_objects(Bucket=bucket, MaxKeys=2, Marker="b")
    assert (keys_of(second), second["IsTruncated"]) == (["c"], False), "the second page differs"


# --- copies and deletes ------------------------------------------------------------------------------

copies = Group("S3: copies and deletes")


@copies("a copy, in the bucket or to another one, has the body and the metadata", needed=True)
def copied_objects(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    _, other = aws.bucket()
    source = {"Bucket": bucket, "Key": "a b+ü"}
    s3.put_object(**source, Body=b"copied", Metadata={"n": "1"}, ContentType="text/csv")
    for target in (bucket, other):
        result = s3.copy_object(Bucket=target, Key="copy", CopySource=source)["CopyObjectResult"]
        assert result["ETag"] == f'"{md5(b"copied")}"', "the copy has another ETag"
        assert body_of(s3, target, "copy") == b"copied", "the copy has another body"
        head = s3.head_object(Bucket=target, Key="copy")
        assert (head["Metadata"], head["ContentType"]) == ({"n": "1"}, "text/csv"), "the metadata is lost"
    error = error_of(s3.copy_object, Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": "none"})
    assert error == "404 NoSuchKey", f"a copy of what is not there: {error}"


@copies("`MetadataDirective: REPLACE` gives the copy new metadata")
def copied_metadata(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    source = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**source, Body=b"x", Metadata={"n": "1"}, ContentType="text/csv")
    new = {"Metadata": {"m": "2"}, "ContentType": "text/plain", "MetadataDirective": "REPLACE"}
    for key in ("copy", "k"):
        s3.copy_object(Bucket=bucket, Key=key, CopySource=source, **new)
        head = s3.head_object(Bucket=bucket, Key=key)
        assert (head["Metadata"], head["ContentType"]) == ({"m": "2"}, "text/plain"), "it keeps the old one"


@copies("a copy of an object to itself that changes nothing is refused")
def copy_to_itself(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    source = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**source, Body=b"x")
    error = error_of(s3.copy_object, **source, CopySource=source)
    assert error == "400 InvalidRequest", f"the copy: {error}"


@copies("a copy can be of an older version, and may demand an ETag")
def copied_versions(aws: Aws) -> None:
    s3, bucket = aws.bucket(versions=True)
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    s3.put_object(Bucket=bucket, Key="k", Body=b"two")
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="old", CopySource=source | {"VersionId": first["VersionId"]})
    assert body_of(s3, bucket, "old") == b"one", "it is of the newest version"
    error = error_of(
        s3.copy_object, Bucket=bucket, Key="x", CopySource=source, CopySourceIfMatch=first["ETag"]
    )
    assert error == FAILED, f"a copy that demands an outdated ETag: {error}"


@copies("a part of an upload can be copied from a range of an object")
def copied_parts(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    part = s3.upload_part_copy(
        **where,
        PartNumber=1,
        CopySource={"Bucket": bucket, "Key": "source"},
        CopySourceRange="bytes=2-5",
    )
    done = [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    assert body_of(s3, bucket, "k") == b"2345", "it has other bytes"


@copies("a delete of what is not there succeeds", needed=True)
def delete_of_nothing(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    status = status_of(s3.delete_object(Bucket=bucket, Key="none"))
    assert status == 204, f"the answer: {status}"


@copies("a batch delete names what it has deleted, odd keys too; `Quiet` names only errors", needed=True)
def batch_delete(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    for key in (*ODD_KEYS, "stays", "quiet"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    asked = [{"Key": key} for key in (*ODD_KEYS, "none")]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": asked})
    deleted = sorted(each["Key"] for each in answer.get("Deleted", []))
    assert deleted == sorted(each["Key"] for each in asked), "it names others"
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "quiet"}], "Quiet": True})
    assert not answer.get("Deleted"), "Quiet names what it has deleted"
    listed = keys_of(s3.list_objects_v2(Bucket=bucket))
    assert listed == ["stays"], f"left are {listed}"


# --- access -------------------------------------------------------------------------------------------

access = Group("S3: access")


@access("presigned URLs work without an SDK, for a get and for a put")
def presigned_urls(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    where = {"Bucket": bucket, "Key": "a b+ü"}
    status, _ = aws.send_to(s3.generate_presigned_url("put_object", where), "PUT", b"by url")
    assert status == 200, f"a put: {status}"
    assert body_of(s3, bucket, where["Key"]) == b"by url", "the put writes something else"
    answer = aws.send_to(s3.generate_presigned_url("get_object", where))
    assert answer == (200, b"by url"), f"a get: {answer[0]}"


@access("a presigned URL that has expired is refused")
def expired_urls(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for age, wanted in ((timedelta(seconds=30), 200), (timedelta(seconds=90), 403)):
        signed = datetime.now(UTC).replace(tzinfo=None) - age
        with patch("botocore.auth.get_current_datetime", return_value=signed):
            url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
        status, _ = aws.send_to(url)
        assert status == wanted, f"{'before' if wanted == 200 else 'after'} its time: {status}"


@access("a request that nobody has signed is refused")
def anonymous_requests(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    answer, _ = aws.request("GET", f"/{bucket}/k")
    assert answer.status == 403, f"the answer: {answer.status}"


@access("a request that is signed with a wrong secret is refused")
def wrong_secrets(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    error = error_of(aws.client("s3", aws_secret_access_key="wrong").get_object, Bucket=bucket, Key="k")
    assert error == "403 SignatureDoesNotMatch", f"the answer: {error}"


# --- buckets -------------------------------------------------------------------------------------------

buckets = Group("S3: buckets and their settings")


@buckets("buckets are listed, and know their region", needed=True)
def listed_buckets(aws: Aws) -> None:
    s3, first = aws.bucket()
    _, second = aws.bucket()
    names = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    assert {first, second} <= set(names), "a new one is not listed"
    region = s3.get_bucket_location(Bucket=first)["LocationConstraint"]
    assert region == REGION, f"the region is {region}"
    header = s3.head_bucket(Bucket=first)["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    assert header == REGION, f"a head tells the region {header}"


@buckets("a bucket that is there already, or is not empty, is refused by name")
def refused_buckets(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    location = {"LocationConstraint": REGION}
    error = error_of(s3.create_bucket, Bucket=bucket, CreateBucketConfiguration=location)
    assert error == "409 BucketAlreadyOwnedByYou", f"a second creation: {error}"
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    error = error_of(s3.delete_bucket, Bucket=bucket)
    assert error == "409 BucketNotEmpty", f"a deletion: {error}"


@buckets("versioning is off, and reads back as it was set", needed=True)
def versioning(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    status = s3.get_bucket_versioning(Bucket=bucket).get("Status")
    assert status is None, f"at first it is {status}"
    for wanted in ("Enabled", "Suspended"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": wanted})
        status = s3.get_bucket_versioning(Bucket=bucket).get("Status")
        assert status == wanted, f"{wanted} becomes {status}"


@buckets("a policy reads back as it was written; without one it is `NoSuchBucketPolicy`", needed=True)
def bucket_policy(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    error = error_of(s3.get_bucket_policy, Bucket=bucket)
    assert error == "404 NoSuchBucketPolicy", f"without one: {error}"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "DenyInsecureTransport",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == policy, "it differs"
    s3.delete_bucket_policy(Bucket=bucket)
    error = error_of(s3.get_bucket_policy, Bucket=bucket)
    assert error == "404 NoSuchBucketPolicy", f"after it was deleted: {error}"


@buckets("encryption reads back as it was set", needed=True)
def encryption(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    answer = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    kept = [{name: rule.get(name) for name in rules[0]} for rule in answer]
    assert kept == rules, "it differs"


@buckets("a new bucket is encrypted with AES256, and a put says so")
def encrypted_from_the_start(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    rule = only(s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"])
    algorithm = rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert algorithm == "AES256", f"it is {algorithm}"
    said = s3.put_object(Bucket=bucket, Key="k", Body=b"x").get("ServerSideEncryption")
    assert said == "AES256", f"a put says {said or 'nothing'}"


@buckets("rules of a life cycle read back as they were written", needed=True)
def life_cycle(aws: Aws) -> None:
    s3, bucket = aws.bucket(versions=True)
    rules = [
        {
            "ID": "clean-up",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
        },
        {
            "ID": "archive",
            "Status": "Enabled",
            "Filter": {"Prefix": "old/"},
            "Transitions": [
                {"Days": 30, "StorageClass": "STANDARD_IA"},
                {"Days": 90, "StorageClass": "GLACIER_IR"},
            ],
        },
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert sorted(kept, key=lambda rule: rule["ID"]) == sorted(rules, key=lambda rule: str(rule["ID"])), (
        "they differ"
    )
    s3.delete_bucket_lifecycle(Bucket=bucket)
    error = error_of(s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    assert error == "404 NoSuchLifecycleConfiguration", f"after they were deleted: {error}"


@buckets("a public access block reads back as it was set", needed=True)
def public_access_block(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    block = {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": False,
        "RestrictPublicBuckets": False,
    }
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    kept = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert kept == block, "it differs"
    s3.delete_public_access_block(Bucket=bucket)
    error = error_of(s3.get_public_access_block, Bucket=bucket)
    assert error == "404 NoSuchPublicAccessBlockConfiguration", f"after it was deleted: {error}"


@buckets("a new bucket blocks public access")
def closed_from_the_start(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert len(block) == 4 and all(block.values()), "not everything is blocked"


@buckets("a policy for everybody is refused while public access is blocked")
def refused_policy(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(names, True))
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    error = error_of(s3.put_bucket_policy, Bucket=bucket, Policy=policy)
    assert error == "403 AccessDenied", f"the answer: {error}"


@buckets("tags of a bucket read back as they were set")
def bucket_tags(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    error = error_of(s3.get_bucket_tagging, Bucket=bucket)
    assert error == "404 NoSuchTagSet", f"without any: {error}"
    tags = [{"Key": "layer", "Value": "silver"}, {"Key": "owner", "Value": "a b+ü"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    kept = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    assert sorted(kept, key=lambda tag: tag["Key"]) == tags, "they differ"


GROUPS = (conditions, puts, parts, gets, versions, listings, copies, access, buckets)
