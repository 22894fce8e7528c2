"""Requests with more bytes than a limit are refused before they are read into memory."""

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Answers 413 to a request whose body is too long.

    Args:
        app: Answers all other requests.
        most: The limit in bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        """Wrap an application."""
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is short enough; both the announced length and the bytes that arrive are checked."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        body, read, more = b"", 0, True
        while more and not (announced.isdigit() and int(announced) > self.most) and read <= self.most:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            read, more = len(body), message.get("more_body", False)
        if more or read > self.most:
            said = f"the request is longer than {self.most:,} bytes; ask for fewer people at a time"
            await JSONResponse({"detail": said}, 413)(scope, receive, send)
            return
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def once() -> Message:
            return next(given, None) or await receive()

        await self.app(scope, once, send)
