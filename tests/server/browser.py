"""A real browser, chromium without a window, driven over the DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from tests.server.conftest import until

__all__ = ["CHROMIUM", "ELSEWHERE", "SHIFT", "Browser", "Page", "chromium"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ANSWER_SECONDS = 20.0
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39, "Home": 36}
TYPED = {"Enter": "\r", " ": " "}
SHIFT = 8
ELSEWHERE = "vocoder.test"  # a name of this machine which, on plain http, browsers do not take for it

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root in a container has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
)


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The browser, with a profile that lasts as long as it does."""
    assert CHROMIUM
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_address(Path(profile)), max_size=None) as socket:
                browser = Browser(socket)
                yield browser
                browser.send("Browser.close")
        finally:
            process.terminate()
            process.wait(20)


def _address(profile: Path) -> str:
    told = profile / "DevToolsActivePort"
    until(lambda: told.exists() and len(told.read_text().split()) == 2)
    port, path = told.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"


class Browser:
    """The connection to a browser: commands out, answers and events in."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._sent = socket, 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Give a command and wait for its answer; the events that come meanwhile are kept."""
        self._sent += 1
        command = {"id": self._sent, "method": method, "params": params}
        self._socket.send(json.dumps(command | ({"sessionId": session} if session else {})))
        deadline = time.monotonic() + ANSWER_SECONDS
        while (heard := self._hear(deadline)).get("id") != self._sent:
            self.events.append(heard)
        assert "error" not in heard, f"{method}: {heard['error']}"
        result: dict[str, Any] = heard["result"]
        return result

    def _hear(self, deadline: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(deadline - time.monotonic()))
        return message

    @contextmanager
    def page(self, *, width: int = 1000, before: str = "", **media: str) -> Iterator["Page"]:
        """A fresh tab, with a memory of its own. `before` runs ahead of the page's scripts.

        `media` are features of the reader, as in `prefers_color_scheme="dark"`.
        """
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, context)
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility", "DOM"):
            page.send(f"{domain}.enable")
        page.send("Page.addScriptToEvaluateOnNewDocument", source=before)
        page.resize(width).prefer(**media)
        yield page
        self.send("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser, self._session, self._context = browser, session, context

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Give the tab a command."""
        return self._browser.send(method, self._session, **params)

    def events(self, method: str) -> list[dict[str, Any]]:
        """The parameters of every event of this name so far."""
        mine = (each for each in self._browser.events if each.get("sessionId") == self._session)
        return [each["params"] for each in mine if each["method"] == method]

    def open(self, url: str) -> Self:
        """Go to an address and wait until it is loaded."""
        self.send("Page.navigate", url=url)
        return self.wait(f"document.readyState === 'complete' && location.href.startsWith({url!r})")

    def resize(self, width: int) -> Self:
        """Have a window, or a telephone, of this width."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)
        return self

    def prefer(self, **media: str) -> Self:
        """Be read by somebody with these preferences."""
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.send("Emulation.setEmulatedMedia", features=features)
        return self

    def run(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        wanted = {"expression": script, "awaitPromise": True, "returnByValue": True}
        done = self.send("Runtime.evaluate", **wanted)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> Self:
        """Wait until an expression is true."""
        until(lambda: bool(self.run(script)), seconds)
        return self

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.run(f"document.querySelector({selector!r}).innerText.trim()"))

    def click(self, selector: str) -> Self:
        """Press the mouse on the middle of an element."""
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        return self

    def press(self, key: str, modifiers: int = 0) -> Self:
        """Press a key, as a hand on the keyboard does."""
        common = {"key": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": modifiers}
        typed = {"text": TYPED[key]} if key in TYPED else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **typed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)
        return self

    def write(self, text: str) -> Self:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)
        return self

    def drop(self, selector: str, *files: Path) -> Self:
        """Drag files from the desktop onto an element and let go."""
        x, y = self._middle(selector)
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)
        return self

    def choose(self, selector: str, file: Path) -> Self:
        """Choose a file in the dialogue of a file input."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
        return self

    def allow_downloads(self, folder: Path) -> Self:
        """Let files that the page offers land in a folder."""
        folder.mkdir(parents=True)
        wishes = {"behavior": "allow", "downloadPath": str(folder), "browserContextId": self._context}
        self._browser.send("Browser.setDownloadBehavior", **wishes)
        return self

    def slow_down(self, rate: int) -> Self:
        """Let so many bytes a second come from the network."""
        wishes = {"offline": False, "latency": 0, "downloadThroughput": rate, "uploadThroughput": -1}
        self.send("Network.emulateNetworkConditions", **wishes)
        return self

    def tree(self) -> Sequence[dict[str, Any]]:
        """What a screen reader is given: role, name and properties of every node that is not ignored."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if not node["ignored"]]

    def screenshot(self, name: str) -> Self:
        """Keep a picture of the whole page in the folder `SCREENSHOTS`, if that is set."""
        if folder := os.environ.get("SCREENSHOTS"):
            picture = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            Path(folder).mkdir(parents=True, exist_ok=True)
            Path(folder, f"{name}.png").write_bytes(base64.b64decode(picture["data"]))
        return self

    def _middle(self, selector: str) -> tuple[float, float]:
        element = f"document.querySelector({selector!r})"
        self.run(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.run(f"{element}.getBoundingClientRect().toJSON()")
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
