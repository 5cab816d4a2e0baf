"""The command ``view``: what the server gives and refuses, how the command ends, what napari is told."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Volume
from fourierrecon.display.napari import napari_layer
from fourierrecon.display.planes import AXES, open_volume, percentiles_of
from fourierrecon.display.server import MOST_WAITING, ViewServer, _Handler, quantise
from fourierrecon.io import write_mrc

Run = Callable[..., tuple[int, str, str]]
SHAPE = (6, 11, 8)
VALUES = np.random.default_rng(1).normal(-4, 2, SHAPE).astype(np.float32)
ORIGIN = (-30.5, 0.0, 120.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_mrc(tmp_path / "volume.mrc", Volume(VALUES, 13.5, ORIGIN))
    return tmp_path / "volume.mrc"


@pytest.fixture
def server(path: Path) -> Iterator[ViewServer]:
    with ViewServer(open_volume(path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Answer:
    """What came back."""

    def __init__(self, server: ViewServer, path: str, method: str = "GET", **headers: str) -> None:
        line = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
        try:
            line.request(method, path, headers=headers)
            response = line.getresponse()
            self.status, self.headers, self.body = response.status, response.headers, response.read()
        finally:
            line.close()


def ask(server: ViewServer, question: str) -> Answer:
    return Answer(server, f"/{server.token}/{question}")


def densities(answer: Answer, shape: tuple[int, ...]) -> NDArray[np.float64]:
    low, high = float(answer.headers["X-Low"]), float(answer.headers["X-High"])
    return np.asarray(low + np.frombuffer(answer.body, "<u2").reshape(shape) / 65535 * (high - low))


def test_slices_are_those_of_the_array(server: ViewServer) -> None:
    # half a step of 65535, and the rounding of float32
    step = 0.51 * float(np.ptp(VALUES)) / 65535
    for number, axis in enumerate(AXES):
        for index in range(SHAPE[number]):
            expected = np.take(VALUES, index, number)
            answer = ask(server, f"slice?axis={axis}&index={index}&slab=1")
            assert answer.status == 200
            np.testing.assert_allclose(densities(answer, expected.shape), expected, atol=step)
    answer = ask(server, "slice?axis=y&index=5&slab=4")
    np.testing.assert_allclose(densities(answer, (6, 8)), VALUES[:, 4:8].mean(axis=1), atol=step)


def test_facts_and_percentiles(server: ViewServer, path: Path) -> None:
    facts = json.loads(ask(server, "facts").body)
    assert facts == {
        "name": "volume.mrc", "shape": {"z": 6, "y": 11, "x": 8}, "voxel_size": 13.5,
        "origin": {"x": -30.5, "y": 0.0, "z": 120.0}, "slab": 7, "points": [], "diameter": 300 / 13.5,
    }  # fmt: skip
    for thickness in (1, 3):
        answer = json.loads(ask(server, f"percentiles?slab={thickness}").body)
        assert answer["steps"] == 10
        np.testing.assert_array_equal(answer["values"], percentiles_of(open_volume(path), thickness))


def test_the_page_needs_nothing_from_elsewhere(server: ViewServer) -> None:
    answer = Answer(server, urlsplit(server.address).path)
    assert (answer.status, answer.headers.get_content_type()) == (200, "text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.findall(rb"(?:https?:)?//[a-z]+\.|\bsrc=|@import", answer.body)


def test_only_loopback_listens(server: ViewServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.address.startswith("http://127.0.0.1:")
    with ViewServer(server.volume) as other:
        assert other.token != server.token
    assert len(server.token) >= 24


@pytest.mark.parametrize("name", ["view", "facts", "slice?axis=z&index=0&slab=1", "percentiles?slab=1", ""])
def test_a_wrong_token_gets_nothing(server: ViewServer, name: str) -> None:
    for token in ("", "x", server.token[:-1], server.token + "a", server.token.swapcase(), "%C3%A9", "é"):
        line = f"/{token}/{name}".encode().decode("latin-1")
        with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=30) as connection:
            connection.sendall(f"GET {line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode("latin-1"))
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert answer.startswith(b"HTTP/1.1 403 "), token
        assert b"volume" not in answer


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_name_of_this_machine_gets_nothing(server: ViewServer, host: str) -> None:
    assert Answer(server, urlsplit(server.address).path, Host=host).status == 403
    # a tunnel ends at another port
    assert Answer(server, urlsplit(server.address).path, Host="localhost:1234").status == 200


@pytest.mark.parametrize(
    "name",
    ["", "view.html", "view/", "../view", "..%2fview.py", "volume.mrc", "//etc/passwd", "../../../../etc/passwd",
     "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "facts/../../etc/passwd"],
)  # fmt: skip
def test_there_is_nothing_else(server: ViewServer, name: str) -> None:
    answer = ask(server, name)
    assert (answer.status, answer.body) == (404, b"there is nothing here")


@pytest.mark.parametrize(
    "name",
    ["slice", "slice?axis=z&index=0", "slice?axis=z&index=6&slab=1", "slice?axis=z&index=-1&slab=1",
     "slice?axis=z&index=a&slab=1", "slice?axis=zy&index=0&slab=1", "slice?axis=z&index=0&slab=0",
     "percentiles", "percentiles?slab=12", "percentiles?slab=-1"],
)  # fmt: skip
def test_questions_without_an_answer(server: ViewServer, name: str) -> None:
    answer = ask(server, name)
    assert answer.status == 400
    assert answer.body.startswith(b"cannot answer that: ")


def test_nothing_can_be_written(server: ViewServer) -> None:
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
        assert Answer(server, urlsplit(server.address).path, method).status == 501


def test_a_file_that_becomes_shorter_is_told(server: ViewServer, path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(1024)
    answer = ask(server, "slice?axis=z&index=0&slab=1")
    assert answer.status == 500
    assert b"has become shorter" in answer.body


def test_numbers_stand_for_densities() -> None:
    largest = float(np.finfo(np.float32).max)
    plane = np.array([[-largest, 0, largest], [np.nan, np.inf, -np.inf]], np.float32)
    numbers, low, high = quantise(plane)
    assert (low, high) == (-largest, largest)
    np.testing.assert_array_equal(numbers, [[0, 32768, 65535], [0, 65535, 0]])
    for flat in (np.full((2, 3), 7, np.float32), np.full((2, 3), np.nan, np.float32)):
        numbers, low, high = quantise(flat)
        assert low == high
        assert not numbers.any()


def test_a_browser_that_goes_away_leaves_no_trace(path: Path) -> None:
    said: list[str] = []
    with ViewServer(open_volume(path), on_error=said.append) as server:
        for error in (BrokenPipeError(), ConnectionResetError(), RuntimeError("a bug")):
            try:
                raise error
            except (OSError, RuntimeError):
                server.handle_error(None, None)
    assert said == ["the page could not be served: RuntimeError('a bug')"]


def test_lack_of_memory_is_told(server: ViewServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(server.volume, "mean", none_left)
    answer = ask(server, "slice?axis=z&index=0&slab=1")
    assert answer.status == 500
    assert answer.body.startswith(b"out of memory")


# the command


def test_ctrl_c_ends_it(path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    # background jobs of a shell are started with Ctrl-C switched off
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from fourierrecon.cli.app import main; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "view", str(path), "--no_browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert "8 x 11 x 6 voxels of 13.5 Å" in lines[0]
        found = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+)", lines[1])
        assert found is not None
        assert f"ssh -L {found[1]}:127.0.0.1:{found[1]}" in lines[2]
        line = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
        line.request("GET", found[2])
        assert line.getresponse().read().startswith(b"<!DOCTYPE html>")
        # with the connection still open
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        line.close()
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    assert "ended" in out


def test_a_port_in_use(run: Run, path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, _, err = run(f"view {path} --port {port}")
    assert status == 2
    assert err.count("\n") == 1
    assert f"--port {port}: Address already in use; leave it out" in err


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_a_port_that_is_none(run: Run, path: Path, port: str) -> None:
    status, _, err = run(f"view {path} --port {port}")
    assert status == 2
    assert "--port" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read {path}: No such file or directory"),
        (b"", "{path} is not an MRC file: it has 0 bytes, a header alone has 1024"),
        (b"x" * 5000, "{path} is not an MRC file: no MAP mark"),
        ("cut", "{path} is cut short"),
    ],
)
def test_files_that_cannot_be_shown(run: Run, path: Path, content: bytes | str | None, message: str) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if isinstance(content, str) else content)
    status, out, err = run(f"view {path} --no_browser")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert message.format(path=path) in err


# napari


def test_napari_gets_nanometres_and_a_lazy_array(path: Path) -> None:
    layer = napari_layer(open_volume(path))
    assert isinstance(layer["data"].base, mmap)
    np.testing.assert_allclose(layer["scale"], 1.35, rtol=1e-6)
    np.testing.assert_allclose(layer["translate"], (12.0, 0.0, -3.05), rtol=1e-6)
    low, high = layer["contrast_limits"]
    assert VALUES.min() < low < np.median(VALUES) < high < VALUES.max()


def test_napari_gets_pixels_where_the_size_is_unknown(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[40:52] = bytes(12)
    raw[1024:] = bytes(len(raw) - 1024)
    path.write_bytes(raw)
    layer = napari_layer(open_volume(path))
    assert (layer["scale"], layer["translate"], layer["units"]) == ((1.0,) * 3, (0.0,) * 3, ("pixel",) * 3)
    assert layer["contrast_limits"] == (0, 1)


@pytest.mark.filterwarnings("default")
def test_napari_takes_it(path: Path) -> None:
    layers = pytest.importorskip("napari.layers", reason="napari is not installed")
    image = layers.Image(**napari_layer(open_volume(path)))
    assert isinstance(image.data.base, mmap)
    assert [str(unit) for unit in image.units] == ["nanometer"] * 3
    np.testing.assert_allclose(image.extent.world[1] - image.extent.world[0], 1.35 * (np.array(SHAPE) - 1), rtol=1e-5)


@pytest.mark.slow
def test_idle_connections_keep_nobody_out(server: ViewServer) -> None:
    """The oldest of many that ask for nothing is closed; whoever asks is answered."""
    idle = [socket.create_connection(("127.0.0.1", server.server_address[1]), 5) for _ in range(MOST_WAITING + 20)]
    try:
        assert ask(server, "facts").status == 200
        idle[0].settimeout(5)
        assert idle[0].recv(1) == b""
        assert sum(thread.name.startswith("Thread-") for thread in threading.enumerate()) <= MOST_WAITING + 20
    finally:
        for connection in idle:
            connection.close()


def test_half_a_question_is_not_waited_for(server: ViewServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_address[1]), 5) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        assert half.recv(1) == b""
