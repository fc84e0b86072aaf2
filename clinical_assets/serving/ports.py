"""The four loopback ports of the local data plane: read from the environment, recorded while the supervisor runs."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from clinical_assets.foundation.files import write_atomic

LOOPBACK = "127.0.0.1"
SETTINGS = {
    "gateway": ("CLINICAL_GATEWAY_PORT", 18080),
    "admin": ("CLINICAL_ENVOY_ADMIN_PORT", 18081),
    "blue": ("CLINICAL_BLUE_PORT", 18082),
    "green": ("CLINICAL_GREEN_PORT", 18083),
}


class PortError(RuntimeError):
    """A port is invalid or taken; the message names the port, its owner if known, and the setting."""


def port_setting(variable: str, default: int) -> int:
    """
    Raises:
        PortError: not a whole number in 1..65535.
    """
    text = os.environ.get(variable, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise PortError(f"{variable}={text!r} is not a port; set it to a whole number between 1 and 65535")
    return int(text)


@dataclass(frozen=True)
class Ports:
    """`gateway` is where patients' requests arrive; `blue` and `green` are the two model-server slots."""

    gateway: int
    admin: int
    blue: int
    green: int

    @classmethod
    def from_env(cls) -> Self:
        """
        Raises:
            PortError: not a whole number in 1..65535, or two settings with the same port.
        """
        values: dict[str, int] = {}
        for name, (variable, default) in SETTINGS.items():
            port = port_setting(variable, default)
            if port in values.values():
                other = next(key for key, value in values.items() if value == port)
                raise PortError(f"{variable} and {SETTINGS[other][0]} are both {port}; give each its own port")
            values[name] = port
        return cls(**values)

    @classmethod
    def recorded(cls, dataplane: Path) -> Self:
        """The ports that the supervisor of this state directory uses.

        Raises:
            PortError: no supervisor has run here yet.
        """
        try:
            recorded = json.loads((dataplane / "ports.json").read_text())
        except FileNotFoundError as error:
            raise PortError(f"no data plane has been started in {dataplane}; run `clinical up`") from error
        return cls(**{field.name: recorded[field.name] for field in fields(cls)})

    def record(self, dataplane: Path) -> None:
        write_atomic(dataplane / "ports.json", json.dumps(asdict(self), indent=1).encode())

    def require_free(self, names: list[str]) -> None:
        """
        Raises:
            PortError: naming the first taken port, the process that holds it if it can be seen, and the setting.
        """
        for name in names:
            port = getattr(self, name)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOOPBACK, port))
                except OSError as error:
                    raise PortError(
                        f"port {port} ({name}) is in use{_owner(port)}; stop that process or set {SETTINGS[name][0]} "
                        "to a free port"
                    ) from error


def _owner(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,) and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return ""
