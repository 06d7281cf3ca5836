#!/usr/bin/env bash
# The wheel, as a stranger meets it: built, installed with no checkout in sight, and made to speak with the voice that it ships.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
python=$(cd "$(dirname "${PYTHON:-.venv/bin/python}")" && pwd)/python
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT

"$python" -m build --wheel --no-isolation --outdir "$away" . >"$away/build.log" || { cat "$away/build.log" >&2; exit 1; }
"$python" -m venv "$away/venv"
"$away/venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "$away"/*.whl

cd "$away"
mel=$(ls "$root"/samples/*.npy | head -n 1)
venv/bin/vocoder inspect default >inspected
head -n 8 inspected
venv/bin/vocoder vocode "$mel" -o speech.wav
venv/bin/python - "$mel" <<'PYTHON'
import sys
import wave

import numpy
import vocoder

frames = numpy.load(sys.argv[1]).shape[-1]
with wave.open("speech.wav") as file:
    pcm = numpy.frombuffer(file.readframes(file.getnframes()), numpy.int16)
assert "site-packages" in vocoder.__file__, vocoder.__file__
assert len(pcm) == frames * 256, f"{len(pcm)} samples from {frames} frames"
assert abs(pcm.astype(float)).max() > 300, "silence"
print(f"flow-vocoder {vocoder.__version__}: {frames} frames spoken from the installed wheel")
PYTHON
