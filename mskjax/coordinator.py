"""The address at which process 0 of several is found, HOST:PORT, looked at before JAX waits for it."""

import re
import socket

LAST_PORT = 65535


def check(address: str) -> None:
    """Raises `ValueError` unless the address is one."""
    found = re.fullmatch(r"[^/\s]+:(\d+)", address)
    if not found or not 0 < int(found[1]) <= LAST_PORT:
        host = re.sub(r"^\w+://|[/:\s].*", "", address) or "localhost"
        raise ValueError(
            f"--coordinator={address} is not HOST:PORT; name the host of process 0 and a free port of it, from 1 to "
            f"{LAST_PORT}, as in {host}:12345"
        )


def check_port(address: str) -> None:
    """Raises `ValueError` where process 0, which this is, cannot have that port, over which JAX may crash."""
    port = address.rpartition(":")[2]
    try:
        with socket.socket() as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as one just left is free
            opened.bind(("", int(port)))
    except OSError as error:
        raise ValueError(
            f"port {port} of --coordinator={address} cannot be had here ({error.strerror}); give all processes another"
        ) from error


def doubt(address: str) -> str:
    """What to tell of a host that is not known here, or not yet; empty for one that is."""
    host, _, port = address.rpartition(":")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        return f"; no host {host} is known here so far ({error.strerror})"
    return ""
