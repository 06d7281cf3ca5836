"""`/docs` without a content delivery network: the page's script and style come from an installed package."""

import importlib.util
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse

__all__ = ["router"]

router = APIRouter(prefix="/docs", include_in_schema=False)

PACKAGE = "fastapi_swagger"  # of which only the files are used; nothing of it is imported
ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


@router.get("")
async def page(request: Request) -> HTMLResponse:
    """Swagger UI over `/openapi.json`; the remote validator is off, so the page asks nobody but us."""
    root = request.scope.get("root_path", "").rstrip("/")
    script, style, icon = (f"{root}/docs/{name}" for name in ASSETS)
    return get_swagger_ui_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=request.app.title,
        swagger_js_url=script,
        swagger_css_url=style,
        swagger_favicon_url=icon,
        swagger_ui_parameters={"validatorUrl": None, "displayRequestDuration": True},
    )


@router.get("/{name}")
async def asset(name: str) -> FileResponse:
    """One of the page's files."""
    if name not in ASSETS:
        raise HTTPException(404)
    return FileResponse(_folder() / name, media_type=ASSETS[name], headers={"Cache-Control": "max-age=86400"})


def _folder() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    assert found, f"{PACKAGE} belongs to the [server] extra"
    return Path(str(found.origin)).parent / "resources"
