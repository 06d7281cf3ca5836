"""`/`: a page to try the service with. Its files lie in `server/page`, and nothing else is served from there.

The page asks nobody but this service: its content security policy has the browser see to that.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

__all__ = ["FILES", "POLICY", "router"]

router = APIRouter(include_in_schema=False)

FILES: Mapping[str, str] = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "example.npy": "application/octet-stream",
    **dict.fromkeys(
        ("api.js", "app.js", "draw.js", "key.js", "messages.js", "npy.js", "pcm.js", "player.js", "stage.js"),
        "text/javascript; charset=utf-8",
    ),
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Kept, and asked after each time: files of two versions never meet in one page.
    "Cache-Control": "no-cache",
}


class _File(NamedTuple):
    body: bytes
    etag: str


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page itself; it refers to its files and to the service by relative addresses."""
    return _respond(request, "index.html")


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    """One of the files of the page."""
    if name not in FILES:
        raise HTTPException(404)
    return _respond(request, name)


def _respond(request: Request, name: str) -> Response:
    body, etag = _read(name)
    headers = HEADERS | {"ETag": etag}
    if etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=FILES[name], headers=headers)


@cache
def _read(name: str) -> _File:
    body = resources.files("server").joinpath("page", name).read_bytes()
    return _File(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
