"""Who may talk to the page: whoever has the token that was printed at the start, from the page itself, on this machine.

The token comes once in the address and lives in a cookie from then on. The Host header must be this machine (a name
that some page rebinds to it will not do), what changes something must come from this origin and carry the page's own
token, and the answers let a browser run nothing that the page does not ship.
"""

import hmac
import secrets
from urllib.parse import urlencode

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp

__all__ = ["CSRF_HEADER", "Guard", "Keys"]

COOKIE = "teachback_audit"
CSRF_HEADER = "x-teachback-csrf"
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
MOST_BODY = 256 * 1024  # bytes of a request; a decision takes a few hundred
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Keys:
    """The secrets of one start of the page.

    Attributes:
        token: What opens it.
        csrf: What a request that changes something must carry; in the page, and in no cookie.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        self.csrf = secrets.token_urlsafe(24)


class Guard(BaseHTTPMiddleware):
    """Lets in what may come in, and marks every answer."""

    def __init__(self, app: ASGIApp, keys: Keys, port: int) -> None:
        super().__init__(app)
        self._keys = keys
        self._hosts = {f"{name}:{port}" for name in LOCAL_NAMES}
        # Cookies know no ports: two pages on one machine must not overwrite each other's.
        self._cookie = f"{COOKIE}_{port}"

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Answer a request, or refuse it."""
        response = self._refusal(request) or self._opened(request)
        if response is None:
            response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("host", "") not in self._hosts:
            return _refuse("this page answers on its own address only")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _refuse("another page may not ask this one")
        origin = request.headers.get("origin")
        if origin is not None and origin.removeprefix("http://") not in self._hosts:
            return _refuse("another page may not ask this one")
        if request.method not in ("GET", "HEAD"):
            if origin is None:
                return _refuse("it does not say where it comes from")
            if not _same(request.headers.get(CSRF_HEADER, ""), self._keys.csrf):
                return _refuse("the page is older than this server: load it again")
            if int(request.headers.get("content-length") or MOST_BODY + 1) > MOST_BODY:
                return PlainTextResponse("too much", 413)
        return None

    def _opened(self, request: Request) -> Response | None:
        if _same(request.cookies.get(self._cookie, ""), self._keys.token):
            return None
        if request.method == "GET" and _same(request.query_params.get("token", ""), self._keys.token):
            left = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
            response = RedirectResponse(request.url.path + (f"?{urlencode(left)}" if left else ""), 303)
            response.set_cookie(self._cookie, self._keys.token, httponly=True, samesite="strict", path="/")
            return response
        return _refuse("open the address that `teachback audit` printed, token included")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _refuse(why: str) -> Response:
    return PlainTextResponse(f"403: {why}\n", 403)
