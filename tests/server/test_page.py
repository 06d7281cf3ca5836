"""The page as it is served: its files, what a browser is told of them, and that the wheel has them."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder
from starlette.testclient import TestClient

from server.routes.page import FILES
from server.schemas import VocodeQuery

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "server" / "page"


def test_the_page_is_at_the_root(client: TestClient) -> None:
    """`/` is HTML, and `HEAD /` tells the same of it."""
    page = client.get("/")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == page.headers["Content-Length"]


def test_every_file_is_served_and_no_other(client: TestClient) -> None:
    """What lies in the folder is what is listed, under its media type; and it is what is sent."""
    assert {path.name for path in PAGE.iterdir()} == set(FILES)
    for name, media in FILES.items():
        answer = client.get(f"/page/{name}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, media)
        assert answer.content == (PAGE / name).read_bytes()


@pytest.mark.parametrize(
    "name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "/etc/passwd", "app.js%00", ".", ""]
)
def test_nothing_beside_the_page_is_served(client: TestClient, name: str) -> None:
    """No name leads out of the folder."""
    assert client.get(f"/page/{name}").status_code in {404, 405}


def test_the_browser_may_ask_nobody_else(client: TestClient) -> None:
    """The policy allows this service alone and nothing inline, on the page and on all that it loads."""
    for path in ("/", *(f"/page/{name}" for name in FILES)):
        headers = client.get(path).headers
        rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
        assert rules.pop("default-src") == "'none'"
        assert set(rules.values()) == {"'self'", "'none'"}
        assert {"base-uri", "form-action", "frame-ancestors"} <= rules.keys()
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


def test_the_files_name_no_other_host() -> None:
    """No address of elsewhere stands in them but SVG's name, and none that would miss a proxy's prefix."""
    for path in PAGE.glob("*.[!n]*"):
        text = path.read_text()
        assert set(re.findall(r"\w+://[^\"'\s]*", text)) <= {"http://www.w3.org/2000/svg"}, path.name
        assert not re.search(r"""(?:href|src|fetch\(|from )\s*=?\s*["']/""", text), path.name


def test_a_file_is_sent_once(client: TestClient) -> None:
    """The browser asks each time, and is answered with the file only if it has changed."""
    first = client.get("/page/app.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/page/app.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = client.get("/page/app.js", headers={"If-None-Match": '"another"'})
    assert other.content == first.content


def test_the_wheel_holds_the_page() -> None:
    """Every file of the page goes into the wheel."""
    builder = WheelBuilder(str(ROOT))
    shipped = {file.distribution_path for file in builder.recurse_included_files()}
    assert {f"server/page/{name}" for name in FILES} <= shipped


def test_the_example_is_the_sample() -> None:
    """The mel that ships in the page is `samples/hello.npy`, in half precision."""
    sample = np.load(ROOT / "samples" / "hello.npy")
    shipped = np.load(io.BytesIO((PAGE / "example.npy").read_bytes()))
    np.testing.assert_array_equal(shipped, sample.astype(np.float16))


def test_the_formats_offered_are_the_formats_there_are() -> None:
    """The list of formats on the page is that of the service."""
    offered = re.findall(r'<option value="(\w+)" data-suffix', (PAGE / "index.html").read_text())
    schema = VocodeQuery.model_json_schema()["properties"]["format"]
    assert offered == schema["enum"]
