"""What tests send: mels, the `.npy` files that hold them, and files that only pretend to."""

import base64
import io
import json
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import safetensors.numpy

NPY = {"Content-Type": "application/x-npy"}
SAFETENSORS = {"Content-Type": "application/x-safetensors"}
JSON = {"Content-Type": "application/json"}
OCTETS = {"Content-Type": "application/octet-stream"}
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


def tensors(**named: np.ndarray[Any, np.dtype[Any]]) -> bytes:
    """The arrays as a safetensors file."""
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in named.items()})


def forged_tensors(text: str | bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with any header at all, which may lie about its own length."""
    header = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def about(shape: str, offsets: str, code: str = "F32") -> str:
    """A header of safetensors with one tensor."""
    return f'{{"mel": {{"dtype": "{code}", "shape": {shape}, "data_offsets": {offsets}}}}}'


def listed(array: np.ndarray[Any, np.dtype[Any]], indent: int | None = None) -> bytes:
    """The array in JSON, as lists of numbers."""
    return json.dumps({"mel": array.tolist()}, indent=indent).encode()


def packed(array: np.ndarray[Any, np.dtype[Any]], **changed: Any) -> bytes:
    """The array in JSON, in base64, where some of what is said of it may be changed."""
    data = base64.b64encode(array.tobytes()).decode()
    said = {"data": data, "dtype": str(array.dtype), "shape": list(array.shape)}
    return json.dumps({"mel": said | changed}).encode()


def rows(text: str) -> bytes:
    """A JSON body whose mel is this text."""
    return b'{"mel": ' + text.encode() + b"}"


def big_json(frames: int, *, last: str = "-5.125") -> bytes:
    """A mel `[80, frames]` in JSON, 20 bytes a number, with a last number of one's choice."""
    number = b"-5.1234567890123456"
    row = b"[" + b",".join([number] * frames) + b"]"
    whole = b'{"mel":[' + b",".join([row] * BANDS)
    return whole[: -len(number) - 1] + last.encode() + b"]]}"


def call(
    url: str, *headers: str, media: str = "application/x-npy", path: str = "/v1/vocode"
) -> socket.socket:
    """A connection on which the head of a POST has been sent; the body is left to the test."""
    place = urlsplit(url)
    connection = socket.create_connection((str(place.hostname), int(place.port or 80)), timeout=10)
    lines = (f"POST {path} HTTP/1.1", "Host: here", f"Content-Type: {media}", *headers, "", "")
    connection.sendall("\r\n".join(lines).encode())
    return connection


def heard(connection: socket.socket) -> bytes:
    """The refusal that comes back, whole."""
    answer = b""
    while not answer.endswith(b"}}") and (more := connection.recv(4096)):
        answer += more
    return answer
