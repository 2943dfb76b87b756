"""The page's server: on this machine alone, for this page alone, and asking no other host.

It answers requests whose Host is this machine, so that no other web site reaches it by a name of its own, and changes
something only for a page that it has served itself, which knows a word that is made anew at every start.
"""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pipeline.browse.session import Session
from pipeline.common.errors import UserError

STATIC = Path(__file__).with_name("static")
TOKEN = "x-page"
MAX_BYTES = 20 * 2**20  # of a picture that is dropped
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def application(session: Session) -> Starlette:
    """The page of a session, as an ASGI application."""
    token = secrets.token_urlsafe(24)

    async def page(_: Request) -> Response:
        html = (STATIC / "index.html").read_text(encoding="utf-8").replace("{token}", token)
        return HTMLResponse(html, headers={**_HEADERS, "Cache-Control": "no-store"})

    async def overview(request: Request) -> Response:
        sort, number = request.query_params.get("sort", "doubt"), request.query_params.get("page", "0")
        return await _answer(lambda: session.overview(sort=sort, page=_number(number)))

    async def cluster(request: Request) -> Response:
        number = request.query_params.get("page", "0")
        return await _answer(lambda: session.cluster(request.path_params["number"], page=_number(number)))

    async def in_no_cluster(request: Request) -> Response:
        number = request.query_params.get("page", "0")
        return await _answer(lambda: session.outliers(page=_number(number)))

    async def thumbnail(request: Request) -> Response:
        try:
            content = await run_in_threadpool(session.thumbnail, request.path_params["row"])
        except UserError as error:
            return JSONResponse({"error": str(error)}, 404)
        return Response(
            content, media_type="image/jpeg", headers={**_HEADERS, "Cache-Control": "private, max-age=3600"}
        )

    async def change(request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get(TOKEN, ""), token):
            return JSONResponse({"error": "this page is of an earlier start: load it again"}, 403)
        what = request.path_params["what"]
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_BYTES:
                return JSONResponse({"error": f"more than {MAX_BYTES >> 20} MiB: take a smaller picture"}, 413)
        if what == "search":
            return await _answer(lambda: session.search(body))
        return await _answer(lambda: _changed(session, what, body))

    routes = [
        Route("/", page),
        Route("/app.js", _static("app.js")),
        Route("/app.css", _static("app.css")),
        Route("/api/clusters", overview),
        Route("/api/clusters/{number:int}", cluster),
        Route("/api/outliers", in_no_cluster),
        Route("/thumb/{row:int}", thumbnail),
        Route("/api/{what}", change, methods=["POST"]),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[hosts])


def _static(name: str) -> Callable[[Request], Any]:
    async def file(_: Request) -> Response:
        return FileResponse(STATIC / name, headers={**_HEADERS, "Cache-Control": "no-cache"})

    return file


async def _answer(compute: Callable[[], Any]) -> Response:
    """What a function of the session returns, or in words why it does not."""
    try:
        return JSONResponse(await run_in_threadpool(compute), headers=_HEADERS)
    except UserError as error:
        return JSONResponse({"error": str(error)}, 409, headers=_HEADERS)


def _changed(session: Session, what: str, body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body or b"{}")
        if what == "merge":
            session.merge([_whole(number) for number in given["clusters"]])
        elif what == "split":
            session.split(_whole(given["cluster"]), [_whole(row) for row in given["rows"]])
        elif what == "join":
            session.join([(_whole(row), _whole(number)) for row, number in given["images"]])
        elif what == "outlier":
            number = given["cluster"]
            session.mark_outliers(None if number is None else _whole(number), [_whole(row) for row in given["rows"]])
        elif what == "undo":
            session.undo()
        else:
            raise UserError(f"there is no {what!r}")
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError("the request is not understood") from error
    return {"done": what}


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0
