"""The client where there is no torch, and where its one library is missing."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

BARRED = ("torch", "torchaudio", "soundfile", "soxr", "safetensors", "server", "fastapi", "pydantic")

SPEAK = """
import sys
for name in {barred}:
    sys.modules[name] = None
import asyncio
import numpy as np
from vocoder.client import AsyncClient, Client

mel = np.full((80, 4), -5.0)
with Client({url!r}) as client:
    said = client.vocode(mel, seed=1)
    with client.stream(mel, seed=1) as audio:
        assert audio.read() == said.content

async def main():
    async with AsyncClient({url!r}) as client:
        return await client.vocode(mel, seed=1)

assert asyncio.run(main()).content == said.content
print(len(said.array()))
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a fresh interpreter at the root of the project."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_speaks_without_torch(url: str) -> None:
    """In an interpreter where nothing that makes audio can be imported, both clients get theirs."""
    done = python(SPEAK.format(barred=BARRED, url=url))
    assert done.stdout.strip() == str(4 * 256), done.stderr


def test_import_brings_no_torch() -> None:
    """`import vocoder.client` leaves torch be."""
    done = python("import sys, vocoder.client; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_missing_library_is_named() -> None:
    """Without httpx2 the import says which extra has it."""
    done = python("import sys; sys.modules['httpx2'] = None; import vocoder.client")
    assert 'pip install "flow-vocoder[client]"' in done.stderr.splitlines()[-1]
