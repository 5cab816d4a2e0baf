"""A server on loopback only: programs on this machine that know its address, with a random token, get answers."""

from __future__ import annotations

import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fourierrecon.errors import UsageError

LOOPBACK = "127.0.0.1"
#: Names of this machine in addresses; another one means that a foreign page leads here.
HOSTS = (LOOPBACK, "localhost")
#: How long a connection may take to ask for something, s.
PATIENCE = 30.0


class LoopbackServer(ThreadingHTTPServer):
    """Listens on loopback.

    Parameters
    ----------
    port
        0: any free one.
    handler
        Answers one connection.

    Attributes
    ----------
    token
        First part of the path of every address.

    Raises
    ------
    UsageError
        If the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.token = secrets.token_urlsafe(18)
        try:
            super().__init__((LOOPBACK, port), handler)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"port={port}: {reason}; leave it out, and a free one is taken") from error

    @property
    def root(self) -> str:
        """Address that all others begin with."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/{self.token}/"

    def is_known(self, host: str, token: str) -> bool:
        """Tell whether a request names this machine and the token."""
        return host.partition(":")[0] in HOSTS and secrets.compare_digest(token.encode(), self.token.encode())
