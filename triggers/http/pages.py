"""Static files of the dashboard and of the API reference. They contain no data and need no key."""

from functools import cache
from pathlib import Path

import azure.functions as func

from triggers.http.media_types import HTML
from triggers.http.route import Routes, route

FOLDER = Path(__file__).parents[1] / "ui"
TYPES = {".html": HTML, ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Images come from the tile server and uploads go to storage: both are other hosts.
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; img-src * data:; connect-src *; frame-ancestors 'none';"
        " base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Pages(Routes):
    """The routes of the dashboard and of the API reference."""

    @route("GET", "ui/{*path}", anonymous=True)
    def show_dashboard(self, req: func.HttpRequest) -> func.HttpResponse:
        return _serve(req.route_params.get("path") or "index.html")

    @route("GET", "docs", anonymous=True)
    def show_reference(self, req: func.HttpRequest) -> func.HttpResponse:
        return _serve("docs.html")


def _serve(name: str) -> func.HttpResponse:
    if name not in _read_files():
        return func.HttpResponse(status_code=404)
    media_type = TYPES[Path(name).suffix]
    return func.HttpResponse(
        _read_files()[name], headers=HEADERS, mimetype=media_type, charset="utf-8"
    )


@cache
def _read_files() -> dict[str, bytes]:
    """Every file by its name, read at the first request."""
    return {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}
