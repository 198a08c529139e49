"""The pages people look at: static files, the same for everybody, asking for no key."""

from functools import cache
from pathlib import Path

import azure.functions as func

from triggers.http.answers import READ

FOLDER = Path(__file__).parents[1] / "ui"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# Scripts come from here alone. Pictures and uploads go to the tile server and to storage, which
# are other hosts.
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; img-src * data:; connect-src *; frame-ancestors 'none';"
        " base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def blueprint() -> func.Blueprint:
    """The routes of the dashboard and of the API's reference."""
    bp = func.Blueprint()
    anonymous = func.AuthLevel.ANONYMOUS

    @bp.route("ui/{*path}", methods=READ, auth_level=anonymous)
    def dashboard(req: func.HttpRequest) -> func.HttpResponse:
        name = req.route_params.get("path") or "index.html"
        return pages().get(name) or func.HttpResponse(status_code=404)

    @bp.route("docs", methods=READ, auth_level=anonymous)
    def docs(req: func.HttpRequest) -> func.HttpResponse:
        return pages()["docs.html"]

    return bp


@cache
def pages() -> dict[str, func.HttpResponse]:
    """Every file by its name. Read once, by whoever asks first."""
    return {
        path.name: func.HttpResponse(
            path.read_bytes(), headers=HEADERS, mimetype=TYPES[path.suffix], charset="utf-8"
        )
        for path in sorted(FOLDER.iterdir())
    }
