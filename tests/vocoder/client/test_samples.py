"""Files of audio read without a codec, theirs by libsndfile and ours."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import soundfile

from vocoder.client.samples import read_samples

SOUND = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)


def written(subtype: str, *, container: str = "WAV", sound: Any = SOUND) -> bytes:
    """A file as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, sound, 8000, subtype, format=container)
    return file.getvalue()


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_reads_what_libsndfile_writes(container: str, subtype: str) -> None:
    """The samples are those that libsndfile reads, whichever header it wrote."""
    content = written(subtype, container=container)
    exact, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    found = read_samples(content, "wav_f32")
    np.testing.assert_array_equal(found, exact)
    assert found.dtype == np.float32 and found.flags.writeable


def test_length_that_is_not_known_ends_with_the_file() -> None:
    """A stream of unknown length says 0xFFFFFFFF, and holds what it holds."""
    content = bytearray(written("PCM_16"))
    content[40:44] = content[4:8] = struct.pack("<I", 0xFFFFFFFF)
    assert len(read_samples(bytes(content), "wav")) == len(SOUND)


BAD = {
    "nothing": b"",
    "no RIFF": bytes(100),
    "a header alone": written("PCM_16")[:20],
    "no data": written("PCM_16")[:36],
    "half a sample": written("PCM_16")[:-1],
    "24 bits": written("PCM_24"),
    "stereo": written("PCM_16", sound=np.zeros((9, 2))),
    "doubles": written("DOUBLE"),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name: str) -> None:
    """What is no mono WAV of 16 bits or floats is a `ValueError`, and half a raw sample too."""
    with pytest.raises(ValueError, match=r"WAV|whole number"):
        read_samples(BAD[name], "wav")
    with pytest.raises(ValueError, match="whole number"):
        read_samples(b"\0\0\0", "pcm")
