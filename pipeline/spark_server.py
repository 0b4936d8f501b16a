"""The laptop's warm Spark: a Spark Connect server with Delta and S3 ready, in the foreground.

    python -m pipeline.spark_server --port 15002

A JVM is slow while it is new: half of a small run's time goes into loading and compiling code. This
one stays, so that every ``finlake run`` after the first meets a JVM that knows its work. Clients
find it by ``SPARK_REMOTE=sc://localhost:15002``.

Whoever reaches the port can run code as this user, and Spark 3.5 can only listen on all interfaces.
So its gRPC service is put behind a listener on one address, the loopback interface by default.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from pipeline.session import local_session
from pipeline.settings import SPARK_REMOTE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SERVICE = Path(__file__).with_name("SharingConnectService.java")
WATCH_SECONDS = 1
LARGEST_MESSAGE = 128 * 1024 * 1024  # Spark's own default of spark.connect.grpc.maxInboundMessageSize


def main(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port for clients.")] = 15002,
    ui_port: Annotated[int, typer.Option(help="Port of Spark's web pages.")] = 4040,
    home: Annotated[str, typer.Option(hidden=True)] = "",  # by it, a stack knows its own server
) -> None:
    """Serve Spark until SIGTERM or Ctrl-C. Example: python -m pipeline.spark_server --port 15002."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda _signal, _frame: stop.set())
    del home
    logging.disable()  # Py4J logs stack traces of what it raises anyway; Spark's own log is the JVM's
    os.environ.pop(SPARK_REMOTE, None)
    os.environ["SPARK_LOCAL_IP"] = host
    settings = {
        "spark.ui.enabled": "true",
        "spark.ui.port": str(ui_port),
        "spark.driver.host": "localhost",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    try:
        spark = local_session(settings, log_to_console=True)
        server = listen(spark, host, port)
    except (Py4JError, PySparkException) as error:
        _give_up(f"Spark cannot start: {error}")
    print(f"Spark {spark.version} serves sc://{host}:{port}", flush=True)  # noqa: T201 - its log
    jvm: Any = spark.sparkContext._gateway
    while not stop.wait(WATCH_SECONDS):
        if jvm.proc.poll() is not None:
            _give_up("Spark's JVM has ended")
    server.shutdownNow()
    spark.stop()


def _give_up(why: str) -> NoReturn:
    """End, so that whoever watches over this process starts it again."""
    said = f"{why}\nIf the JVM was killed, it lacks memory. In Docker, FINLAKE_SPARK_MEMORY is its limit."
    print(said, file=sys.stderr, flush=True)  # noqa: T201 - its log
    os._exit(1)  # an orderly exit would ask the JVM first


def listen(spark: SparkSession, host: str, port: int) -> Any:  # noqa: ANN401 - a Java object
    """Serve Spark Connect on one address; returns the Java gRPC server.

    What ``SparkConnectService.start`` does, but with an address.
    """
    jvm: Any = spark.sparkContext._jvm
    address = jvm.java.net.InetSocketAddress(host, port)
    builder = jvm.org.sparkproject.connect.grpc.netty.NettyServerBuilder.forAddress(address)
    builder = builder.maxInboundMessageSize(LARGEST_MESSAGE)
    return builder.addService(connect_service(jvm)).build().start()


def connect_service(jvm: Any) -> Any:  # noqa: ANN401 - Java objects
    """Spark Connect's service, with generated classes shared: see ``SharingConnectService.java``."""
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setParentClassLoader(jvm.Thread.currentThread().getContextClassLoader())
    compiler.cook(SERVICE.read_text(encoding="utf-8"))
    return compiler.getClassLoader().loadClass(SERVICE.stem).newInstance()


if __name__ == "__main__":
    typer.run(main)
