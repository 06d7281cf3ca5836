"""Make hello.npy from a recording below the folder that VOCODER_SPEECH_DIR names.

python samples/make.py
"""

import os
from pathlib import Path

from vocoder.cli import main

CLIP = "kathleen/flac/arctic_b0523_1592525372.flac"
HERE = Path(__file__).parent

if __name__ == "__main__":
    recording = Path(os.environ["VOCODER_SPEECH_DIR"]) / CLIP
    raise SystemExit(main(["mel", str(recording), "-o", str(HERE / "hello.npy")]))
