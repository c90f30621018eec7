"""People at once: visitors who send photos to the real server over its web socket."""

import statistics
import threading
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from benchmarks.measuring import Row, row
from benchmarks.photos import paths_of
from benchmarks.serving import SECONDS, memory_of, serving


class Visitor:
    """A browser's part of the conversation: opens the classify page and uploads photos."""

    def __init__(self, port: int) -> None:
        self._http = f"http://127.0.0.1:{port}"
        self._until_close = ExitStack()
        self._socket = self._until_close.enter_context(
            connect(
                f"ws://127.0.0.1:{port}/_stcore/stream",
                subprotocols=["streamlit"],
                max_size=None,
                open_timeout=SECONDS,
            )
        )
        self._session = self._uploader = ""
        self._page = b""
        self._files: list[tuple[object, str, int]] = []
        self._run()

    def close(self) -> None:
        """Leaves."""
        self._until_close.close()

    def send(self, photo: bytes) -> float:
        """Uploads a photo in place of the last one; returns seconds until its answer is there."""
        began = time.perf_counter()
        message = BackMsg()
        request = message.file_urls_request
        request.request_id, request.session_id = uuid.uuid4().hex, self._session
        request.file_names.append("photo.jpg")
        self._socket.send(message.SerializeToString())
        while True:
            reply = self._receive()
            if reply.WhichOneof("type") == "file_urls_response":
                (urls,) = reply.file_urls_response.file_urls
                break
        self._put(urls.upload_url, photo)
        self._files = [(urls, "photo.jpg", len(photo))]
        answered = self._run()
        if not answered:
            raise RuntimeError("the page gave no answer")
        return time.perf_counter() - began

    def _put(self, url: str, photo: bytes) -> None:
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"'
        body = f"{head}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + photo
        body += f"\r\n--{boundary}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(self._http + url, body, kind, method="PUT")
        with urllib.request.urlopen(request, timeout=SECONDS):
            pass

    def _run(self) -> bool:
        """Has the script run with what was uploaded; returns whether it drew an answer."""
        message = BackMsg()
        state = message.rerun_script
        state.page_name = "Classify"
        if self._files:
            widget = state.widget_states.widgets.add()
            widget.id = self._uploader
            for urls, name, size in self._files:
                info = widget.file_uploader_state_value.uploaded_file_info.add()
                info.name, info.size, info.file_id = name, size, urls.file_id
                info.file_urls.CopyFrom(urls)
        self._socket.send(message.SerializeToString())
        answered = False
        while True:
            reply = self._receive()
            kind = reply.WhichOneof("type")
            if kind == "new_session":
                self._session = reply.new_session.initialize.session_id or self._session
            elif kind == "delta":
                element = reply.delta.new_element
                if element.WhichOneof("type") == "file_uploader":
                    self._uploader = element.file_uploader.id
                answered |= element.WhichOneof("type") == "plotly_chart"
            elif kind == "script_finished" and reply.script_finished == 0:
                return answered

    def _receive(self) -> ForwardMsg:
        reply = ForwardMsg()
        reply.ParseFromString(self._socket.recv(timeout=SECONDS))
        return reply


def measure(quick: bool) -> list[Row]:
    """Returns the rows about one visitor and twenty; the alternative is one after the other."""
    photos = [path.read_bytes() for path in paths_of(6)]
    each = 2 if quick else 6
    with serving() as (port, process):
        alone = _times(port, 1, each * len(photos), photos)
        together = _times(port, 20, each, photos)
        memory = memory_of(process)
    rows = []
    for name, share in (("median", 50), ("95th percentile", 95)):
        one, twenty = (statistics.quantiles(t, n=100)[share - 1] for t in (alone, together))
        title = f"Upload to answer on the page, {name}"
        rows.append(row(title, 1000 * twenty, 20_000 * one, "ms", "20 people one after the other"))
        rows[-1]["alone"] = 1000 * one
    rows.append(row("Memory of the app after 21 visitors", memory, 400, "MB", "the limit", 1))
    return rows


def _times(port: int, people: int, each: int, photos: list[bytes]) -> list[float]:
    """Seconds of every upload of so many people who all start at once."""
    visitors = [Visitor(port) for _ in range(people)]
    ready = threading.Barrier(people)

    def visit(visitor: Visitor) -> list[float]:
        visitor.send(photos[0])  # the first one loads the model
        ready.wait(SECONDS)
        return [visitor.send(photos[n % len(photos)]) for n in range(each)]

    with ThreadPoolExecutor(people) as pool:
        times = [seconds for took in pool.map(visit, visitors) for seconds in took]
    for visitor in visitors:
        visitor.close()
    return times
