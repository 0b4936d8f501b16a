"""The services that this gateway answers itself, by the names that stand in signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emulator.gateway.local import LocalService
from emulator.gateway.settings import GatewaySettings


def _glue(settings: GatewaySettings) -> LocalService:
    from emulator.glue.service import GlueService
    from emulator.glue.settings import GlueSettings

    return GlueService(GlueSettings(), settings)


def _athena(settings: GatewaySettings) -> LocalService:
    from emulator.athena.service import AthenaService
    from emulator.gateway.upstreams import Upstreams

    return AthenaService(Upstreams(settings.routes()), settings.state_dir)


LOCAL_SERVICES: Mapping[str, Callable[[GatewaySettings], LocalService]] = {"athena": _athena, "glue": _glue}


def build(settings: GatewaySettings) -> dict[str, LocalService]:
    """The services that the settings name and that the catalogue would otherwise serve."""
    wanted = settings.local_services & settings.catalog_services
    return {name: make(settings) for name, make in LOCAL_SERVICES.items() if name in wanted}
