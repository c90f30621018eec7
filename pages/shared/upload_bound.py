"""How many bytes one visit may hold: Streamlit keeps uploads that no page asked for, too."""

import re
from collections import Counter
from typing import cast

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config
from streamlit.runtime import get_instance
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

MOST = 800_000_000
"""Bytes: the 500 million of the largest batch that pages take, and what is on its way."""

_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/[^/]+$")


class UploadBound:
    """Middleware that refuses a visit's further uploads while it holds `MOST` bytes.

    A page's widget removes the files it replaces; the visit's end removes all.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: Counter[str] = Counter()  # uploads under way, by visit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it on."""
        found = _UPLOAD.search(scope["path"]) if scope["type"] == "http" else None
        if found is None or scope["method"] != "PUT":
            await self._app(scope, receive, send)
            return
        visit = found[1]
        self._open[visit] += 1
        try:
            if _held(visit) + self._open[visit] * _largest() > MOST:
                refusal = PlainTextResponse("This visit holds too many uploads.", 413)
                await refusal(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            self._open[visit] -= 1
            self._open += Counter()  # drops those at zero


def _largest() -> int:
    """Bytes of the largest upload that Streamlit takes."""
    return config.get_option("server.maxUploadSize") * 1024**2


def _held(visit: str) -> int:
    manager = cast(MemoryUploadedFileManager, get_instance().uploaded_file_mgr)
    return sum(len(file.data) for file in list(manager.file_storage.get(visit, {}).values()))
