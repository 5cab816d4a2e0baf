"""A store of Zarr over HTTP, on loopback only: for viewers in the browser, such as neuroglancer, and other programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from fourierrecon.display.loopback import PATIENCE, LoopbackServer
from fourierrecon.errors import FourierReconError

if TYPE_CHECKING:
    from zarr.abc.store import Store

#: Pages of other sites may read what they are given the address of.
HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "no-store",
    "Content-Type": "application/octet-stream",
    "X-Content-Type-Options": "nosniff",
}


class ZarrServer(LoopbackServer):
    """Serves what is in a store of Zarr to programs on this machine that know the address with its random token.

    Parameters
    ----------
    store
        The store: :meth:`fourierrecon.operators.VirtualTomogram.to_zarr` gives one.
    port
        0: any free one.

    Raises
    ------
    UsageError
        If the port cannot be had.

    Examples
    --------
    >>> from fourierrecon.display.zarr_server import ZarrServer
    >>> server = ZarrServer(tomogram.to_zarr())  # doctest: +SKIP
    >>> threading.Thread(target=server.serve_forever, daemon=True).start()  # doctest: +SKIP
    >>> print(server.address)  # doctest: +SKIP
    """

    def __init__(self, store: Store, port: int = 0) -> None:
        self.store = store
        super().__init__(port, _Handler)

    @property
    def address(self) -> str:
        """Of the group; neuroglancer takes it with ``|zarr3:`` behind it."""
        return self.root


class _Handler(BaseHTTPRequestHandler):
    """Answers one program."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server_version, sys_version = "fourierrecon", ""

    def do_GET(self) -> None:
        """Answer with what a key holds."""
        self._answer(_get)

    def do_HEAD(self) -> None:
        """Tell whether there is such a key; nothing is computed."""
        self._answer(_exists)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""

    def _answer(self, look: Callable[[Store, str], Coroutine[Any, Any, bytes | None]]) -> None:
        server = cast(ZarrServer, self.server)
        token, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if not server.is_known(self.headers.get("Host", ""), token):
            self._send(HTTPStatus.FORBIDDEN, b"wrong address")
            return
        try:
            found = asyncio.run(look(server.store, key))
        except (FourierReconError, MemoryError) as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode())
            return
        self._send(HTTPStatus.NOT_FOUND if found is None else HTTPStatus.OK, found or b"")

    def _send(self, status: HTTPStatus, content: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.command == "GET":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


async def _get(store: Store, key: str) -> bytes | None:
    from zarr.core.buffer import default_buffer_prototype

    found = await store.get(key, default_buffer_prototype())
    return None if found is None else found.to_bytes()


async def _exists(store: Store, key: str) -> bytes | None:
    return b"" if await store.exists(key) else None
