"""`clinical exporter` and `clinical monitor`: the platform's own state for Prometheus, and Prometheus beside it."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer
from rich.console import Console

from clinical_assets.foundation.home import Home

console = Console(highlight=False)


def exporter(
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 in a cluster")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="port (default $CLINICAL_EXPORTER_PORT, else 18084)")] = None,
) -> None:
    """Answer Prometheus with rollouts, evidence, weights, verdicts, data and sensors until Ctrl-C."""
    from clinical_assets.foundation import logs
    from clinical_assets.monitoring.exporter import port_from_env, serve

    logs.configure()
    at = port_from_env() if port is None else port
    try:
        server, thread = serve(Home.from_env(), host, at)
    except OSError as error:
        raise ValueError(f"{host}:{at} cannot be listened on ({error.strerror}); choose another --port") from error
    console.print(f"metrics on http://{host}:{at}/metrics")
    try:
        thread.join()
    except KeyboardInterrupt:
        server.shutdown()


def monitor(
    every: Annotated[float, typer.Option(min=0.5, help="seconds between two readings")] = 5.0,
) -> None:
    """Prometheus, and Alertmanager where it is installed, beside the demo or `clinical dev` until Ctrl-C."""
    from clinical_assets.foundation import logs
    from clinical_assets.monitoring.beside import INSTALL, MonitorError, beside

    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with beside(Home.from_env().prepare(), every) as at:
            console.print(f"Prometheus on http://127.0.0.1:{at.prometheus}, the exporter on port {at.exporter}")
            if at.alertmanager is None:
                console.print(f"Alertmanager is not installed, so nobody is told of alerts; {INSTALL}")
            else:
                console.print(f"Alertmanager on http://127.0.0.1:{at.alertmanager}; Ctrl-C stops all")
            stop.wait()
    except MonitorError as error:
        raise ValueError(str(error)) from error
