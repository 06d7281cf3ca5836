"""What tests send: mels, the `.npy` files that hold them, and files that only pretend to."""

import io
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

import numpy as np

NPY = {"Content-Type": "application/x-npy"}
BANDS = 80


def mel(frames: int, *, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A mel `[80, frames]` of values that speech could have."""
    return np.random.default_rng(seed).normal(-5.5, 1.5, (BANDS, frames)).clip(-11, 1).astype(np.float32)


def npy(array: np.ndarray[Any, np.dtype[Any]], *, version: tuple[int, int] | None = None) -> bytes:
    """The array as a `.npy` file, object arrays pickled into it."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version, allow_pickle=True)
    return file.getvalue()


def forged(header: str | bytes, data: bytes = b"", *, version: int = 1, length: int | None = None) -> bytes:
    """A `.npy` file with any header at all, which may lie about its own length."""
    text = header.encode("latin-1") if isinstance(header, str) else header
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes((version, 0)) + size + text + data


def header(shape: str, descr: str = "'<f4'", order: str = "False") -> str:
    """A header as NumPy writes it."""
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def call(url: str, *headers: str) -> socket.socket:
    """A connection on which the head of a `POST /v1/vocode` has been sent; the body is left to the test."""
    place = urlsplit(url)
    connection = socket.create_connection((str(place.hostname), int(place.port or 80)), timeout=10)
    lines = ("POST /v1/vocode HTTP/1.1", "Host: here", "Content-Type: application/x-npy", *headers, "", "")
    connection.sendall("\r\n".join(lines).encode())
    return connection


def heard(connection: socket.socket) -> bytes:
    """The refusal that comes back, whole."""
    answer = b""
    while not answer.endswith(b"}}") and (more := connection.recv(4096)):
        answer += more
    return answer
