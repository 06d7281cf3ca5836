"""The page in a real browser: what it asks, what is heard, and who can use it."""

import base64
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch

from server.app import create_app
from server.settings import Settings
from tests.server.browser import CHROMIUM, ELSEWHERE, SHIFT, Browser, Page, chromium
from tests.server.conftest import Serving, until
from tests.server.parcels import NPY, mel, npy
from tests.server.probes import CONTRAST, FOCUSED, HEARD, HEIGHTS, IDS, NOTES, WATCH
from vocoder import Vocoder, audio

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

FRAMES, HOP, RATE = 100, 256, 22050

STOPS = ["A", "file", "example", "model", "temperature", "denoise", "seed", "speak"]
CONTROLS = ["play", "seek", "format", "download", "keep"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests, each of which has a tab and a memory of its own."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(serving: Serving, voice: Vocoder) -> Iterator[str]:
    """The service, on small chunks so that even a short mel comes in several."""
    settings = Settings(voice="waveglow-tiny", first_frames=16, chunk_frames=32)
    with serving(create_app(settings, load=lambda *_: voice)) as url:
        yield url


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    """The page, with the models listed."""
    with browser.page(before=WATCH) as page:
        yield page.open(f"{site}/").wait("!model.disabled")


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A mel of about a second, as a file."""
    file = tmp_path / "a mel.npy"
    file.write_bytes(npy(mel(FRAMES)))
    return file


def _spoken(page: Page) -> Page:
    """Press Speak and wait until it has been heard to the end."""
    return page.click("#speak").wait("play.textContent === 'Play again'")


def _length(page: Page) -> int:
    return int(page.run("pieces.reduce((sum, piece) => sum + piece.samples.length, 0)"))


def test_loads_quietly_and_asks_nobody_else(browser: Browser, site: str) -> None:
    """No error, no warning, no exception; every request is to the service."""
    with browser.page() as page:
        page.open(f"{site}/").wait("!model.disabled").screenshot("light-start")
        page.click("#example").wait("!speak.disabled")
        asked = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
        seen = ("", "page/app.js", "page/style.css", "page/example.npy", "v1/models")
        assert {f"{site}/{path}" for path in seen} <= set(asked)
        assert [url for url in asked if not url.startswith(f"{site}/")] == []
        assert page.events("Runtime.exceptionThrown") == page.events("Runtime.consoleAPICalled") == []
        assert {each["entry"]["level"] for each in page.events("Log.entryAdded")} <= {"verbose"}


def test_a_dropped_mel_is_heard_whole_without_a_gap(page: Page, site: str, speech: Path) -> None:
    """Every piece begins in time, where the one before it ends; together they are the service's samples."""
    page.drop("#drop", speech).wait("!speak.disabled")
    assert "100 frames of 80 bands, 1.16 s" in page.text("#picture")
    page.click("#temperature").slow_down(120_000)  # so that it arrives in pieces, but sooner than it sounds
    _spoken(page).screenshot("light-spoken")
    notes = page.run(NOTES)
    assert len(notes) > 2
    assert sum(note["length"] for note in notes) == FRAMES * HOP
    for note, following in itertools.pairwise(notes):
        assert following["when"] == pytest.approx(note["when"] + note["length"] / RATE, abs=1e-9)
    assert all(note["when"] > note["now"] and note["rate"] == note["context"] == RATE for note in notes)
    assert notes[-1]["ended"] >= notes[0]["when"] + FRAMES * HOP / RATE
    assert page.text("#time") == "0:01.2 / 0:01.2"
    seed, temperature = page.text("#facts dd"), page.run("temperature.value")
    query = f"format=pcm&stream=true&seed={seed}&temperature={temperature}"
    answer = httpx2.post(f"{site}/v1/vocode?{query}", content=speech.read_bytes(), headers=NPY)
    assert base64.b64decode(page.run(HEARD)) == answer.content


def test_a_slow_connection_pauses_the_sound_and_loses_nothing(page: Page, site: str, speech: Path) -> None:
    """Where audio comes more slowly than it sounds, there is silence between runs, and no sample is lost."""
    page.choose("#file", speech).wait("!speak.disabled")
    _spoken(page.slow_down(24_000))
    notes = page.run(NOTES)
    gaps = [b["when"] - a["when"] - a["length"] / RATE for a, b in itertools.pairwise(notes)]
    assert max(gaps) > 0.05
    assert min(gaps) > -1e-9
    assert all(note["when"] > note["now"] for note in notes)
    assert sum(note["length"] for note in notes) == FRAMES * HOP


def test_plain_http_is_enough(browser: Browser, site: str, speech: Path) -> None:
    """Under a name that browsers do not trust, where they withhold half of what they can, the page works."""
    with browser.page(before=WATCH) as page:
        page.open(f"{site.replace('127.0.0.1', ELSEWHERE)}/").wait("!model.disabled")
        assert page.run("isSecureContext") is False
        _spoken(page.choose("#file", speech).wait("!speak.disabled"))
        assert _length(page) == FRAMES * HOP


def test_any_place_can_be_gone_to(page: Page, speech: Path) -> None:
    """A click into the picture goes there; from there the rest is heard, and no more. A seed can be kept."""
    page.choose("#file", speech).wait("!speak.disabled")
    _spoken(page).click("#stage").wait("play.textContent === 'Play'")
    assert page.text("#time").startswith("0:00.6")
    page.click("#play").wait("play.textContent === 'Play again'")
    assert page.run("pieces.at(-1).samples.length") == pytest.approx(FRAMES * HOP / 2, rel=0.01)
    page.click("#play").wait("play.textContent === 'Pause'")
    assert page.run("pieces.at(-1).samples.length") == FRAMES * HOP  # again, from the beginning
    page.click("#keep")
    assert page.run("seed.value") == page.text("#facts dd")


def test_stop_stops(page: Page, speech: Path) -> None:
    """The same button gives up what is being made: the request ends, and nothing is heard of it."""
    page.choose("#file", speech).wait("!speak.disabled")
    page.slow_down(8000).click("#speak").wait("speak.textContent === 'Stop'").wait("!transport.hidden")
    page.click("#speak").wait("speak.textContent === 'Speak'")
    assert (page.text("#status"), page.text("#error")) == ("Stopped.", "")
    page.wait("transport.hidden")
    page.wait("pieces.every((piece) => piece.ended)")
    until(lambda: page.run("true") and bool(page.events("Network.loadingFailed")))
    assert [event["canceled"] for event in page.events("Network.loadingFailed")] == [True]


def test_a_recording_is_heard_through_its_mel(page: Page, tmp_path: Path) -> None:
    """A WAV file becomes a mel, and that audio, of frames × hop samples."""
    file, samples = tmp_path / "tone.wav", RATE // 2
    audio.save(file, torch.from_numpy(np.sin(np.arange(samples) * 0.06)).float(), RATE)
    page.choose("#file", file).wait("!speak.disabled")
    frames = 1 + samples // HOP
    assert f"{frames} frames" in page.text("#picture-facts")
    _spoken(page)
    assert _length(page) == frames * HOP
    assert page.text("#error") == ""


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (mel(20)[:79], "[79, 20]"),
        (mel(20).astype(np.int32), "floating point"),
        (np.full((80, 20), np.nan, np.float32), "mel"),
    ],
)
def test_a_bad_mel_is_refused_in_words(page: Page, tmp_path: Path, array: Any, words: str) -> None:
    """Whether the page or the service refuses it, an alert says why, and the page goes on working."""
    bad, good = tmp_path / "bad.npy", tmp_path / "good.npy"
    bad.write_bytes(npy(array))
    good.write_bytes(npy(mel(8).T))  # the other way round, which is no fault
    page.choose("#file", bad).wait("error.textContent || !speak.disabled")
    if not page.text("#error"):
        page.click("#speak").wait("error.textContent")
    assert words in page.text("#error")
    page.choose("#file", good).wait("document.getElementById('status').textContent.startsWith('good')")
    assert page.text("#error") == ""
    assert _spoken(page).text("#error") == ""


def test_a_keyboard_is_enough(page: Page) -> None:
    """Tab goes through everything in the order that it is seen in, visibly; Enter and Space do the rest."""
    order = [page.press("Tab").run(FOCUSED) for _ in range(3)]
    page.press("Enter").wait("!speak.disabled")
    order += [page.press("Tab").run(FOCUSED) for _ in range(5)]
    assert order == STOPS
    page.press("Enter").wait("!download.disabled")
    order = []
    for _ in CONTROLS:
        order.append(page.press("Tab").run(FOCUSED))
        assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == CONTROLS
    for _ in range(4):
        page.press("Tab", SHIFT)
    page.press(" ").wait("play.textContent === 'Play'")
    paused = page.run("seek.value")
    page.press("Tab").press("ArrowRight").wait(f"seek.value > {paused}")
    page.press("Tab", SHIFT).press(" ").wait("play.textContent === 'Pause'")


def test_a_screen_reader_is_told_everything(page: Page) -> None:
    """All that can be operated, and every picture, has a name; there is one heading of the first rank."""
    page.click("#example").wait("!speak.disabled").click("#speak").wait("!download.disabled")
    operable = {"button", "combobox", "slider", "textbox", "link", "image", "img", "form", "navigation"}
    named: dict[str, list[str]] = {}
    for node in page.tree():
        if (role := node["role"]["value"]) in operable:
            named.setdefault(role, []).append(node["name"]["value"])
    assert all(names and all(names) for names in named.values()), named
    assert {"button", "combobox", "slider", "textbox", "link"} <= named.keys()
    roles = [node["role"]["value"] for node in page.tree()]
    assert {"main", "banner", "status", "alert"} <= set(roles)
    assert page.run("[...document.querySelectorAll('h1')].length") == 1
    assert page.run("document.documentElement.lang") == "en-GB"
    ids = page.run(IDS)
    assert len(set(ids)) == len(ids)
    assert page.run("seek.ariaValueText").endswith("of 4.6 seconds")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_legible(browser: Browser, site: str, scheme: str) -> None:
    """Every text has a contrast of at least 4.5 to 1; dark is dark."""
    with browser.page(prefers_color_scheme=scheme) as page:
        page.open(f"{site}/").wait("!model.disabled").click("#example").wait("!speak.disabled")
        page.click("#speak").wait("!download.disabled").screenshot(f"{scheme}-playing")
        ratio, whose = page.run(CONTRAST)
        assert ratio >= 4.5, whose
        page.run("error.textContent = 'Something went wrong.'")
        assert page.run(CONTRAST)[0] >= 4.5
        paper = page.run("getComputedStyle(document.body).backgroundColor")
        assert (int(paper.split("(")[1].split(",")[0]) < 64) == (scheme == "dark")
        assert page.run("new Set(mel.getContext('2d').getImageData(0, 0, 40, 40).data).size") > 20


def test_fits_a_telephone(browser: Browser, site: str) -> None:
    """At 320 pixels nothing is cut off, and all that is touched is at least 24 pixels high."""
    with browser.page(width=320) as page:
        page.open(f"{site}/").wait("!model.disabled").click("#example").wait("!speak.disabled")
        page.click("#speak").wait("!download.disabled").screenshot("telephone")
        assert page.run("document.documentElement.scrollWidth") <= 320
        assert min(page.run(HEIGHTS)) >= 24


def test_less_motion_is_granted(browser: Browser, site: str) -> None:
    """For a reader who wants it so, nothing fades, and what has to move does so a few times a second."""
    with browser.page(prefers_reduced_motion="reduce") as page:
        page.open(f"{site}/").wait("!model.disabled").click("#example").wait("!speak.disabled")
        assert page.run("getComputedStyle(speak).transitionDuration") == "0s"
        page.click("#speak").wait("seek.value > 0")
        page.run("window.moves = 0, new MutationObserver(() => moves++).observe(stage, { attributes: true })")
        assert 1 <= page.wait("seek.value > 1").run("moves") <= 10


def test_what_is_downloaded_is_what_was_heard(browser: Browser, page: Page, site: str, speech: Path) -> None:
    """The WAV file is the one that the service streams; another format is asked for with the same seed."""
    folder = speech.parent / "downloads"
    page.allow_downloads(folder)
    page.choose("#file", speech).wait("!speak.disabled")
    page.click("#speak").wait("!download.disabled").click("#download")
    seed, temperature = page.text("#facts dd"), page.run("temperature.value")
    page.run("format.value = 'flac'")
    page.click("#download")
    until(lambda: {file.suffix for file in folder.glob("*")} == {".wav", ".flac"})
    for suffix, stream in (("wav", True), ("flac", False)):
        query = f"seed={seed}&format={suffix}&stream={stream}&temperature={temperature}"
        answer = httpx2.post(f"{site}/v1/vocode?{query}", content=speech.read_bytes(), headers=NPY)
        assert (folder / f"a mel-{seed}.{suffix}").read_bytes() == answer.content
