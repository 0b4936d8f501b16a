"""What a user can rely on without starting anything: no root, no open ports, limits, health checks."""

from __future__ import annotations

from typing import Any

import pytest
from containers import Compose

pytestmark = pytest.mark.docker

STAYING = ("localstack", "catalog", "glue", "gateway", "spark", "dashboard")


@pytest.fixture(scope="module")
def services(compose: Compose) -> dict[str, Any]:
    return compose.config()["services"]


def test_the_services_are_those_of_the_stack(services: dict[str, Any]) -> None:
    assert set(services) == {*STAYING, "datagen"}
    assert services["datagen"]["profiles"] == ["tools"]


def test_ports_are_published_on_the_loopback_interface_only(
    services: dict[str, Any], compose: Compose
) -> None:
    published = {
        int(port["published"]): (name, port["target"], port["host_ip"])
        for name, service in services.items()
        for port in service.get("ports", ())
    }
    assert published == {
        compose.ports["gateway"]: ("gateway", 4566, "127.0.0.1"),
        compose.ports["spark"]: ("spark", 15002, "127.0.0.1"),
        compose.ports["web pages"]: ("spark", 4040, "127.0.0.1"),
        compose.ports["dashboard"]: ("dashboard", 4580, "127.0.0.1"),
    }


@pytest.mark.parametrize("name", STAYING)
def test_a_service_is_confined_and_restarted(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert int(service["mem_limit"]) <= 4 * 2**30
    assert service["init"] is True
    assert "docker.sock" not in str(service)


@pytest.mark.parametrize("name", ["localstack", "catalog"])
def test_an_emulator_has_a_user_a_volume_and_a_health_check(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["user"] == "1000:1000"
    assert any(mount["type"] == "volume" for mount in service["volumes"])
    assert service["healthcheck"]["test"]
    mounted = [mount for mount in service["volumes"] if mount["type"] == "bind"]
    assert all(mount["read_only"] for mount in mounted)


def test_an_image_is_built_by_one_service_alone(services: dict[str, Any]) -> None:
    # Builds side by side would make an image each, and the next `up` would start running containers anew.
    built = [service["image"] for service in services.values() if "build" in service]
    assert sorted(built) == ["finlake-datagen", "finlake-gateway", "finlake-spark"]
    others = [service for service in services.values() if "build" not in service]
    own = [service for service in others if service["image"].startswith("finlake-")]
    assert {service["pull_policy"] for service in own} == {"never"}


def test_services_wait_until_those_before_them_are_healthy(services: dict[str, Any]) -> None:
    needs = {name: sorted(service.get("depends_on", {})) for name, service in services.items()}
    assert needs == {
        "localstack": [],
        "catalog": [],
        "glue": ["catalog", "localstack"],
        "gateway": ["glue", "localstack"],
        "spark": ["gateway"],
        "dashboard": ["gateway"],
        "datagen": ["gateway"],
    }
    for service in services.values():
        assert {need["condition"] for need in service.get("depends_on", {}).values()} <= {"service_healthy"}
