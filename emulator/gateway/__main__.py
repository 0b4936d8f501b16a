"""Runs the gateway until SIGTERM or SIGINT: ``python -m emulator.gateway``."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import uvloop
from aiohttp import web
from aiohttp.http import HttpProcessingError
from pydantic import ValidationError

from emulator.gateway import services
from emulator.gateway.health import OWN_PATH, STACK_PATH, Health
from emulator.gateway.proxy import LINE_BYTES, Proxy, leave_expect_alone, leave_headers_alone
from emulator.gateway.settings import GatewaySettings

logger = logging.getLogger("emulator.gateway")


async def serve(settings: GatewaySettings) -> None:
    """Serve until told to stop; running requests may then finish for a few seconds."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    routes = settings.routes()
    local = services.build(settings)
    proxy, health = Proxy(routes, settings.gateway_drain_seconds, settings.aws_region, local), Health(routes)
    app = web.Application()
    app.router.add_get(STACK_PATH, health.stack)
    app.router.add_get(OWN_PATH, health.own)
    app.router.add_route("*", "/{path:.*}", proxy.handle, expect_handler=leave_expect_alone)
    app.on_response_prepare.append(leave_headers_alone)
    app.on_shutdown.append(proxy.drain)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        handler_cancellation=True,  # a client that leaves ends its request to the upstream, too
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
        shutdown_timeout=0.5,  # after the proxy has drained
    )
    try:
        for service in local.values():
            await service.start()
        await runner.setup()
        await web.TCPSite(runner, settings.gateway_host, settings.gateway_port).start()
        names = ", ".join(sorted(routes.catalog_services)) or "nothing"
        logger.info(
            "serving on http://%s:%d: %s by %s, everything else by %s",
            settings.gateway_host,
            settings.gateway_port,
            names,
            routes.catalog.url,
            routes.localstack.url,
        )
        await stop.wait()
    finally:
        await runner.cleanup()
        for service in local.values():
            await service.close()
        await proxy.close()


def main() -> int:
    """Read the settings and serve; errors are one line on standard error."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="gateway: %(message)s")
    logging.getLogger("aiohttp.server").addFilter(_without_trace_of_bad_requests)
    try:
        settings = GatewaySettings()
        uvloop.run(serve(settings))
    except ValidationError as error:
        for problem in error.errors():
            logger.error("FINLAKE_%s: %s", ".".join(map(str, problem["loc"])).upper(), problem["msg"])
        return 2
    except OSError as error:
        logger.error("%s; FINLAKE_GATEWAY_HOST and FINLAKE_GATEWAY_PORT say where to listen", error)
        return 1
    return 0


def _without_trace_of_bad_requests(record: logging.LogRecord) -> bool:
    """What a client does wrong is one line; only errors of the gateway itself show where they happened."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.args, record.exc_info = "not HTTP: %s", (error.message.partition("\n")[0],), None
    return True


if __name__ == "__main__":
    sys.exit(main())
