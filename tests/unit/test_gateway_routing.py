"""The gateway's routing: which service a request is for, and which upstream gets it."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from emulator.gateway.routing import Routes, service_of
from emulator.gateway.settings import GatewaySettings


def signed(scope: str, algorithm: str = "AWS4-HMAC-SHA256") -> CIMultiDict[str]:
    return CIMultiDict(
        {"authorization": f"{algorithm} Credential={scope}, SignedHeaders=host;x-amz-date, Signature=abc"}
    )


@pytest.mark.parametrize("service", ["s3", "glue", "athena", "iam", "states", "execute-api"])
def test_the_scope_of_the_signature_names_the_service(service: str) -> None:
    assert service_of("/", signed(f"AKID/20260101/eu-central-1/{service}/aws4_request")) == service


def test_a_signature_without_a_region_names_the_service_too() -> None:
    headers = signed("AKID/20260101/glue/aws4_request", "AWS4-ECDSA-P256-SHA256")
    assert service_of("/", headers) == "glue"


@pytest.mark.parametrize("slash", ["/", "%2F", "%2f"])
def test_a_presigned_url_names_the_service(slash: str) -> None:
    scope = slash.join(["AKID", "20260101", "eu-central-1", "athena", "aws4_request"])
    target = f"/q?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date=20260101T000000Z"
    assert service_of(target, CIMultiDict()) == "athena"


def test_an_object_whose_key_looks_like_a_signature_is_still_an_object() -> None:
    assert service_of("/bucket/X-Amz-Credential=a/b/glue/aws4_request", CIMultiDict()) == "s3"


@pytest.mark.parametrize(
    "target",
    ["/bucket/key?AWSAccessKeyId=AKID&Signature=x&Expires=1", "/bucket/key", "/", "/?x-id=ListBuckets"],
)
def test_what_names_no_service_is_for_s3(target: str) -> None:
    assert service_of(target, CIMultiDict({"Host": "localhost:4566"})) == "s3"


def test_an_old_signature_is_for_s3() -> None:
    assert service_of("/bucket/key", CIMultiDict({"Authorization": "AWS AKID:c2lnbmF0dXJl"})) == "s3"


@pytest.mark.parametrize(
    ("target", "service"),
    [("AWSGlue.GetTables", "glue"), ("AmazonAthena.StartQueryExecution", "athena"), ("Other.Thing", "s3")],
)
def test_an_unsigned_request_is_for_the_service_of_its_target(target: str, service: str) -> None:
    assert service_of("/", CIMultiDict({"x-amz-target": target})) == service


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("glue.localhost", "glue"),
        ("glue.localhost:4566", "glue"),
        ("GLUE.localhost.localstack.cloud:4566", "glue"),
        ("athena.eu-central-1.amazonaws.com", "athena"),
        ("s3.localhost.localstack.cloud:4566", "s3"),
        ("glue.s3.localhost.localstack.cloud:4566", "s3"),
        ("glue.s3.eu-central-1.amazonaws.com", "s3"),
        ("glue.s3-website.localhost.localstack.cloud", "s3"),
        ("localhost:4566", "s3"),
        ("gateway:4566", "s3"),
        ("127.0.0.1:4566", "s3"),
        ("[::1]:4566", "s3"),
        ("", "s3"),
    ],
)
def test_an_unsigned_request_is_for_the_service_of_its_host(host: str, service: str) -> None:
    assert service_of("/", CIMultiDict({"Host": host})) == service


def test_the_signature_counts_more_than_the_host() -> None:
    headers = signed("AKID/20260101/eu-central-1/s3/aws4_request")
    headers.add("Host", "glue.localhost")
    assert service_of("/", headers) == "s3"


def test_localstacks_own_paths_are_never_the_catalogues() -> None:
    assert service_of("/_localstack/init", CIMultiDict({"Host": "glue.localhost"})) == "localstack"


def routes(services: str | None, monkeypatch: pytest.MonkeyPatch) -> Routes:
    if services is None:
        monkeypatch.delenv("FINLAKE_CATALOG_SERVICES", raising=False)
    else:
        monkeypatch.setenv("FINLAKE_CATALOG_SERVICES", services)
    return GatewaySettings().routes()


@pytest.mark.parametrize(
    ("services", "of_catalog", "upstreams"),
    [
        (None, {"glue", "athena"}, 2),
        ("glue, Athena,", {"glue", "athena"}, 2),
        ("glue", {"glue"}, 2),
        ("", set(), 1),
    ],
)
def test_one_setting_says_what_the_catalogue_serves(
    services: str | None, of_catalog: set[str], upstreams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = routes(services, monkeypatch)
    asked = {"glue", "athena", "s3", "sts", "localstack"}
    assert {service for service in asked if found.upstream(service) is found.catalog} == of_catalog
    assert len(found.upstreams) == upstreams


def test_only_scheme_host_and_port_of_an_upstreams_address_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINLAKE_LOCALSTACK_URL", "http://localstack:4566/")
    assert str(routes(None, monkeypatch).localstack.url) == "http://localstack:4566"
