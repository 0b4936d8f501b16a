"""What storage, the network, Spark's server and disks have to say, in words for people."""

import pytest

from pipeline.errors import FinlakeError, NoAnswerError, explain

BEHIND = "cannot be reached at http://localstack:4566. Start it, or set FINLAKE_LOCALSTACK_URL"

NO_ANSWER = {
    "obstore": "Generic S3 error: Error performing HEAD http://localhost:4566/b/x in 30.1s, after 18 retries "
    "- HTTP error: error sending request",
    "boto3": 'Could not connect to the endpoint URL: "http://localhost:4566/"',
    "boto3, in the middle": "Connection was closed before we received a valid response from endpoint URL: "
    '"http://localhost:4566/".',
    "S3A": "doesBucketExist on b: com.amazonaws.SdkClientException: Unable to execute HTTP request: gateway",
    "the gateway, by S3A": f"AmazonS3Exception: LocalStack {BEHIND} (Service: Amazon S3; Status Code: 503)",
    "the gateway, by boto3": "An error occurred (ServiceUnavailableException) when calling the GetTables "
    f"operation (reached max retries: 6): the catalogue emulator {BEHIND}",
    "HEAD, which has no text": "HEAD http://localhost:4566/b/x - Server returned 503 Service Unavailable: ",
}
FULL_DISK = {
    "LocalStack": (
        "Error performing PUT http://localhost:4566/b/x in 9ms - Server returned non-2xx status code: "
        "400 Bad Request: <Error><Code>StorageFull</Code><Message>No space left on device</Message></Error>",
        "the disk of the local AWS is full",
    ),
    "Spark": ("Caused by: java.io.IOException: No space left on device", "the disk is full"),
    "S3A": (
        "DiskErrorException: Could not find any valid local directory for s3ablock-0001-",
        "the disk is full",
    ),
}


@pytest.mark.parametrize("text", NO_ANSWER.values(), ids=NO_ANSWER)
def test_storage_that_does_not_answer_is_told_from_everything_else(text):
    explained = explain(RuntimeError(text))
    assert isinstance(explained, NoAnswerError)
    assert "make status" in str(explained.hint)


def test_what_does_not_answer_behind_the_gateway_is_named():
    assert "LocalStack behind it does not" in str(explain(OSError(NO_ANSWER["the gateway, by S3A"])))
    assert "the catalogue emulator behind" in str(explain(OSError(NO_ANSWER["the gateway, by boto3"])))


@pytest.mark.parametrize(("text", "meaning"), FULL_DISK.values(), ids=FULL_DISK)
def test_a_full_disk_is_named_with_what_to_do(text, meaning):
    explained = explain(RuntimeError(text))
    assert explained is not None
    assert meaning in str(explained)
    assert "make room" in explained.with_hint
    assert not isinstance(explained, NoAnswerError)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "<_MultiThreadedRendezvous of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n"
            '\tdetails = "ipv4:127.0.0.1:15002: Failed to connect to remote host: Connection refused"\n>',
            "the Spark server does not answer any more",
        ),
        ("[INVALID_HANDLE.SESSION_NOT_FOUND] The handle is invalid.", "was started again"),
    ],
)
def test_a_spark_server_that_is_gone_is_not_taken_for_the_storage(text, meaning):
    explained = explain(RuntimeError(text))
    assert explained is not None
    assert meaning in str(explained)
    assert not isinstance(explained, NoAnswerError)


def test_what_is_for_people_already_stays_as_it_is():
    error = FinlakeError("Connection refused, says the bouncer", "go home")
    assert explain(error) is error
    assert error.with_hint == "Connection refused, says the bouncer; go home"


def test_anything_else_is_not_explained():
    assert explain(ValueError("an ordinary mistake")) is None


def test_expired_credentials_and_missing_rights_are_told_apart():
    expired = (
        "An error occurred (ExpiredTokenException) when calling the GetJob operation: The security token "
    )
    assert "expired" in str(explain(Exception(expired + "included in the request is expired")))
    refused = (
        "An error occurred (AccessDeniedException) when calling the UpdateJob operation: User: "
        "arn:aws:iam::123456789012:user/me is not authorized to perform: glue:UpdateJob on resource: "
        "arn:aws:glue:x:y:job/z"
    )
    found = explain(Exception(refused))
    assert found is not None
    assert "glue:UpdateJob on resource: arn:aws:glue:x:y:job/z" in str(found)
