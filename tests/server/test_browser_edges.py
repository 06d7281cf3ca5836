"""What the page makes of odd files, of a service that is busy, guarded or gone: in a real browser."""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from torch import Tensor

from server.app import create_app
from server.settings import Settings
from tests.server.browser import CHROMIUM, Browser, Page, chromium
from tests.server.conftest import Gate, Serving, until
from tests.server.parcels import NPY, forged, header, mel, npy
from tests.server.probes import FOCUSED
from vocoder import Vocoder, Window

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

KEY = "open-sesame"

READ = """(async () => {
  const { readMel } = await import("./page/npy.js");
  const { bands, frames, layout, at } = readMel(%s, 80);
  const values = Array.from({ length: bands * frames }, (_, i) => at(Math.floor(i / frames), i %% frames));
  return { layout, shape: [bands, frames], values };
})()"""
REFUSED = """import("./page/npy.js")
  .then(({ readMel }) => readMel(%s, 80)).then(() => "", (error) => error.message)"""
CUT = """(async () => {
  const { PcmReader } = await import("./page/pcm.js");
  const [bytes, reader, heard] = [new Uint8Array(%s), new PcmReader(), []];
  for (let at = 0, size = 0; at < bytes.length; at += size, size = (size + 1) %% 4)
    heard.push(...reader.push(bytes.slice(at, at + size)));
  return heard;
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, serving: Serving, voice: Vocoder) -> Iterator[Page]:
    """The page, whose modules the tests import."""
    app = create_app(Settings(voice="waveglow-tiny"), load=lambda *_: voice)
    with serving(app) as url, browser.page() as page:
        yield page.open(f"{url}/").wait("!model.disabled")


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A mel of about a second, as a file."""
    file = tmp_path / "mel.npy"
    file.write_bytes(npy(mel(100)))
    return file


def _buffer(data: bytes) -> str:
    """The bytes as an ArrayBuffer, in the page's language."""
    text = json.dumps(base64.b64encode(data).decode())
    return f"Uint8Array.from(atob({text}), (letter) => letter.charCodeAt(0)).buffer"


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("layout", ["ML", "LM"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_mel_is_read_as_numpy_reads_it(
    page: Page, dtype: str, order: Any, layout: str, version: tuple[int, int]
) -> None:
    """Every number type, order of elements, layout and version of the format gives NumPy's numbers."""
    array = mel(7).astype(dtype)
    array[:5, 0] = [0.0, 6e-8, -6e-5, 1.5, -3]  # half precision has numbers without a leading one
    sent = np.asarray(array if layout == "ML" else array.T, order=order)
    found = page.run(READ % _buffer(npy(sent, version=version)))
    assert (found["layout"], found["shape"]) == (layout, [80, 7])
    np.testing.assert_array_equal(np.reshape(found["values"], (80, 7)), array.astype(np.float64))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no .npy file"),
        (b"\x93NUMPY\x01\x00", "no .npy file"),
        (forged("nonsense"), "header"),
        (forged(header("(80, 3)"), length=60_000), "header"),
        (forged(header("(80, 3)"), bytes(80 * 3 * 4 - 1)), "longer or shorter"),
        (forged(header("(80, 3)"), bytes(80 * 3 * 4 + 1)), "longer or shorter"),
        (forged(header("(80, 0)")), "[80, 0]"),
        (forged(header("(80,)"), bytes(320)), "[80]"),
        (forged(header("(2, 80, 3)"), bytes(1920)), "[2, 80, 3]"),
        (forged(header("(80, 3)", "'>f4'"), bytes(960)), ">f4"),
        (forged(header("(80, 3)", "'|O'"), bytes(960)), "|O"),
    ],
)
def test_what_is_no_mel_is_told_in_words(page: Page, data: bytes, words: str) -> None:
    """A file that the page cannot show is refused with the reason, not drawn as something else."""
    assert words in page.run(REFUSED % _buffer(data))


def test_a_sample_may_come_in_two_halves(page: Page) -> None:
    """Pieces of 0 to 3 bytes give the samples that lie in them, each once."""
    samples = np.random.default_rng(0).integers(-32768, 32768, 1000).astype("<i2")
    np.testing.assert_array_equal(page.run(CUT % _buffer(samples.tobytes())), samples / 32768)


def test_a_busy_service_says_so(browser: Browser, serving: Serving, gate: Gate, speech: Path) -> None:
    """A full queue is told in words, with when to come back; then the same button works."""
    app = create_app(Settings(voice="waveglow-tiny", max_requests=1), load=lambda *_: gate)
    with serving(app) as url, browser.page() as page, ThreadPoolExecutor() as others:
        body = speech.read_bytes()
        other = others.submit(httpx2.post, f"{url}/v1/vocode", content=body, headers=NPY, timeout=30)
        until(lambda: gate.entered == 1)
        page.open(f"{url}/").wait("!model.disabled").choose("#file", speech).wait("!speak.disabled")
        page.click("#speak").wait("error.textContent")
        assert re.search(r"(?i)try again in \d+ s", page.text("#error"))
        gate.opened.set()
        assert other.result().status_code == 200
        page.click("#speak").wait("!download.disabled")
        assert page.text("#error") == ""


def test_a_key_is_asked_for_where_one_is_needed(browser: Browser, serving: Serving, voice: Vocoder) -> None:
    """A 401 brings up a field and the focus into it; a wrong key is refused, the right one opens the page."""
    settings = Settings(voice="waveglow-tiny", api_keys=[KEY])
    with serving(create_app(settings, load=lambda *_: voice)) as url, browser.page() as page:
        page.open(f"{url}/").wait(f"{FOCUSED} === 'key'").screenshot("key")
        page.write("a wrong one").press("Enter").wait("key.ariaInvalid === 'true'")
        assert "does not take" in page.text("#key-form")
        page.write(KEY).press("Enter").wait("!model.disabled")
        assert page.run("document.getElementById('key-form').hidden") and page.run(FOCUSED) == "file"
        page.click("#example").wait("!speak.disabled").click("#speak").wait("!download.disabled")
        assert page.text("#error") == ""


class Breaking(Vocoder):
    """A voice that says the beginning of what it is asked, and then fails."""

    def __init__(self, voice: Vocoder) -> None:
        super().__init__(voice.model, voice.header)
        self.asked = 0

    def render(self, windows: Sequence[Window], **wishes: Any) -> list[Tensor]:
        """The voice's, once; a warm-up has no noise, and does not count."""
        self.asked += any(wishes["temperatures"])
        if self.asked > 1:
            raise RuntimeError("the voice broke")
        return super().render(windows, **wishes)


def test_a_broken_answer_is_told(browser: Browser, serving: Serving, voice: Vocoder, speech: Path) -> None:
    """Audio that ends before its time is an error, not a shorter piece of speech."""
    settings, broken = Settings(voice="waveglow-tiny", first_frames=16, chunk_frames=32), Breaking(voice)
    with serving(create_app(settings, load=lambda *_: broken)) as url, browser.page() as page:
        page.open(f"{url}/").wait("!model.disabled").choose("#file", speech).wait("!speak.disabled")
        page.click("#speak").wait("error.textContent")
        assert "before its time" in page.text("#error")
        assert page.wait("transport.hidden").text("#speak") == "Speak"
