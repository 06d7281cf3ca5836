"""The service from afar, in Python: the same calls with `Client` and, awaited, with `AsyncClient`.

    from vocoder.client import Client

    with Client("http://127.0.0.1:8000") as client:
        client.vocode(mel, seed=1).save("hello.wav")
        with client.stream(mel, format="pcm") as audio:
            for chunk in audio:
                ...

It imports NumPy and httpx2 and no torch. httpx2 comes with the extra: `pip install "flow-vocoder[client]"`.
"""

try:
    import httpx2 as _httpx2  # noqa: F401
except ModuleNotFoundError as error:
    needed = 'vocoder.client needs httpx2: pip install "flow-vocoder[client]"'
    raise ModuleNotFoundError(needed, name=error.name) from error

from vocoder.client.answers import Audio, Model, Score
from vocoder.client.asynchronous import AsyncAudioStream, AsyncClient
from vocoder.client.calls import Format, Wishes
from vocoder.client.failures import (
    BadRequest,
    ClientError,
    ConnectionFailed,
    IncompleteAudio,
    InvalidMelError,
    NotFound,
    RateLimited,
    ServerError,
    TimedOut,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
)
from vocoder.client.synchronous import AudioStream, Client

__all__ = [
    "AsyncAudioStream",
    "AsyncClient",
    "Audio",
    "AudioStream",
    "BadRequest",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "Format",
    "IncompleteAudio",
    "InvalidMelError",
    "Model",
    "NotFound",
    "RateLimited",
    "Score",
    "ServerError",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "UnexpectedAnswer",
    "Wishes",
]
