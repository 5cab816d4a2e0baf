"""The page of ``view``, on loopback only: the page itself, facts about the volume, slices as raw numbers."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from numpy.typing import NDArray

from fourierrecon.display.loopback import PATIENCE, LoopbackServer
from fourierrecon.display.picks import DIAMETER, Picks
from fourierrecon.display.planes import AXES, STEPS, VolumePlanes, percentiles_of
from fourierrecon.display.sections import thickness_in_voxels
from fourierrecon.errors import FourierReconError

#: Connections that have asked for nothing yet; a browser keeps six open.
MOST_WAITING = 64
#: The largest of the numbers that a slice is sent in.
TOP = 65535
#: The page may load and send nothing but from and to here.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
#: Type and bytes of an answer, and more headers.
Answer = tuple[str, bytes, dict[str, str]]


class ViewServer(LoopbackServer):
    """Listens on loopback; whoever does not know the address with its random token gets nothing.

    Parameters
    ----------
    volume
        What is shown.
    port
        0: any free one.
    on_error
        Called with one line on each answer that failed.
    picks, diameter
        Points that are marked in the slices, and the diameter of their circles, Å.

    Raises
    ------
    UsageError
        If the port cannot be had.
    """

    def __init__(
        self,
        volume: VolumePlanes,
        port: int = 0,
        on_error: Callable[[str], object] = str,
        *,
        picks: Sequence[Picks] = (),
        diameter: float = DIAMETER,
    ) -> None:
        self._on_error = on_error
        self._waiting: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        self.picks, self.diameter = tuple(picks), diameter
        self.volume = volume
        # a few thicknesses that one goes to and fro between
        self.percentiles = lru_cache(maxsize=16)(lambda thickness: percentiles_of(volume, thickness))
        super().__init__(port, _Handler)

    @property
    def address(self) -> str:
        """Of the page, for a browser on this machine."""
        return f"{self.root}view"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection; of too many that ask for nothing, the oldest has to go."""
        self.wait(request)
        super().process_request(request, client_address)

    def wait(self, connection: socket.socket) -> None:
        """Count a connection among those that have asked for nothing yet."""
        with self._lock:
            self._waiting[connection] = None
            if len(self._waiting) > MOST_WAITING:
                oldest = next(iter(self._waiting))
                del self._waiting[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.answer(request)
        super().shutdown_request(request)

    def answer(self, connection: socket.socket) -> None:
        """Count a connection no more: it gets its answer, or is closed."""
        with self._lock:
            self._waiting.pop(connection, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report in one line what went wrong; nothing if the browser has gone away in the middle of an answer."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self._on_error(f"the page could not be served: {error!r}")


def quantise(plane: NDArray[np.float32]) -> tuple[NDArray[np.uint16], float, float]:
    """Turn densities into 16-bit numbers; 0 stands for the least finite density, the largest number for the largest.

    Parameters
    ----------
    plane
        Densities; what is no number becomes the least.

    Returns
    -------
    The numbers, and what the least and the largest of them stand for.
    """
    finite = plane[np.isfinite(plane)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if not high > low:
        return np.zeros(plane.shape, np.uint16), low, low
    # halves, so that the span of the largest floats does not overflow
    span = high / 2 - low / 2
    shifted = np.clip(np.nan_to_num(plane, nan=low, posinf=high, neginf=low), low, high) / 2 - np.float32(low / 2)
    return np.rint(shifted * (TOP / span)).astype(np.uint16), low, high


class _Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server_version, sys_version = "fourierrecon", ""

    def do_GET(self) -> None:
        """Answer a request, and wait for the next one."""
        server = cast(ViewServer, self.server)
        server.answer(self.connection)
        self._answer(server)
        server.wait(self.connection)

    def _answer(self, server: ViewServer) -> None:
        address = urlsplit(self.path)
        _, _, token_and_name = address.path.partition("/")
        token, _, name = token_and_name.partition("/")
        if not server.is_known(self.headers.get("Host", ""), token):
            self._refuse(HTTPStatus.FORBIDDEN, "wrong address; take the one that fourierrecon printed")
            return
        make = _ANSWERS.get(name)
        if make is None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
            return
        try:
            kind, body, more = make(server, dict(parse_qsl(address.query)))
        except FourierReconError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
            return
        except (LookupError, ValueError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"cannot answer that: {error}")
            return
        except MemoryError:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "out of memory; close other programs, or take thinner slabs")
            return
        self._send(HTTPStatus.OK, kind, body, more)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, "text/plain; charset=utf-8", reason.encode(), {})

    def _send(self, status: HTTPStatus, kind: str, body: bytes, more: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS, **more}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


def _page(server: ViewServer, query: dict[str, str]) -> Answer:
    return "text/html; charset=utf-8", files("fourierrecon.display").joinpath("view.html").read_bytes(), {}


def _facts(server: ViewServer, query: dict[str, str]) -> Answer:
    volume = server.volume
    facts = {
        "name": volume.path.absolute().name,
        "shape": dict(zip(AXES, volume.shape, strict=True)),
        "voxel_size": volume.voxel_size,
        "origin": dict(zip("xyz", volume.origin, strict=True)),
        "slab": min(thickness_in_voxels(None, volume.voxel_size), max(volume.shape)),
        "points": [{"name": each.name, "count": len(each)} for each in server.picks],
        "diameter": server.diameter / (volume.voxel_size or 1.0),
    }
    return _json(facts)


def _percentiles(server: ViewServer, query: dict[str, str]) -> Answer:
    thickness = int(query["slab"])
    if not 1 <= thickness <= max(server.volume.shape):
        raise ValueError(f"no slab is {thickness} thick")
    return _json({"steps": STEPS, "values": server.percentiles(thickness).tolist()})


def _slice(server: ViewServer, query: dict[str, str]) -> Answer:
    axis = next((axis for axis in AXES if axis == query["axis"]), None)
    if axis is None:
        raise ValueError(f"no axis {query['axis']!r}")
    plane = server.volume.slab(axis, int(query["index"]), int(query["slab"]))
    numbers, low, high = quantise(plane)
    return "application/octet-stream", numbers.astype("<u2").tobytes(), {"X-Low": repr(low), "X-High": repr(high)}


def _points(server: ViewServer, query: dict[str, str]) -> Answer:
    """Give the points as ``x y z x y z ...``, little-endian float32: they are many."""
    voxels = server.picks[int(query["set"])].voxels
    return "application/octet-stream", voxels.astype("<f4").tobytes(), {}


def _json(content: object) -> Answer:
    return "application/json", json.dumps(content).encode(), {}


_ANSWERS: dict[str, Callable[[ViewServer, dict[str, str]], Answer]] = {
    "view": _page,
    "facts": _facts,
    "percentiles": _percentiles,
    "slice": _slice,
    "points": _points,
}
