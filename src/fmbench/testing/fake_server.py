"""A loopback server that speaks OpenAI's protocol, with chosen delays and faults, on real sockets in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Literal, Self

__all__ = ["FakeServer"]

Fault = Literal["html", "truncated", "reset", "hang", "not_json", "error_event"]


class FakeServer:
    """A server for ``with``; ``url`` is its root. It repeats the words that it was asked, one a token, over and over.

    Args:
        ttft_seconds: Until the first token.
        itl_seconds: Between tokens.
        tokens: How many it answers with, unless ``max_tokens`` asks for fewer.
        status: What it answers with; other than 200, a JSON error.
        fault: What goes wrong: a page instead of JSON, a stream that ends early, a connection that is lost, a reply that
            never comes, an event that is no JSON, an error in mid-stream.
    """

    def __init__(
        self,
        *,
        ttft_seconds: float = 0.0,
        itl_seconds: float = 0.0,
        tokens: int = 8,
        status: int = 200,
        fault: Fault | None = None,
    ) -> None:
        self.ttft_seconds = ttft_seconds
        self.itl_seconds = itl_seconds
        self.tokens = tokens
        self.status = status
        self.fault = fault
        self.requests: list[dict[str, Any]] = []
        """The bodies that came, with the request's id as ``x_request_id``."""
        self.url: str = ""

    def __enter__(self) -> Self:
        up: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(up)), name="fake-server", daemon=True)
        self._thread.start()
        up.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _main(self, up: Future[None]) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        except OSError as error:
            up.set_exception(error)
            return
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        up.set_result(None)
        await self._end.wait()
        while arriving := asyncio.all_tasks() - self._tasks - {asyncio.current_task()}:
            await asyncio.wait(arriving)  # asyncio leaks a connection that it is still accepting when its server closes
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # not in the task: one that is cancelled before it begins has no end

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                headers, body = await _read_request(reader)
                payload = json.loads(body) if body else {}
                self.requests.append({**payload, "x_request_id": headers.get("x-request-id")})
                await self._answer(writer, payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone, or a fault has closed the connection

    async def _answer(self, writer: asyncio.StreamWriter, payload: Mapping[str, Any]) -> None:
        await asyncio.sleep(self.ttft_seconds)
        if self.fault == "hang":
            await asyncio.sleep(3600)
        if self.fault == "reset":
            writer.transport.abort()
            raise ConnectionResetError
        if self.fault == "html":
            await _write(writer, _whole(200, "text/html", "<html><body>It works!</body></html>"))
        elif self.status != 200:
            await _write(
                writer, _whole(self.status, "application/json", json.dumps({"error": {"message": f"asked for {self.status}"}}))
            )
        elif payload.get("stream"):
            await self._stream(writer, payload)
        else:
            await _write(writer, _whole(200, "application/json", json.dumps(self._reply(payload))))

    async def _stream(self, writer: asyncio.StreamWriter, payload: Mapping[str, Any]) -> None:
        close = b"Connection: close\r\n" if self.fault is not None else b""
        kind = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        await _write(writer, b"HTTP/1.1 200 OK\r\n" + kind + close + b"\r\n")
        count = self._count(payload)
        for number in range(count):
            if number:
                await asyncio.sleep(self.itl_seconds)
            if number == count // 2 and self.fault in {"truncated", "not_json", "error_event"}:
                await _write(writer, _FAULTY[self.fault])
                raise ConnectionResetError
            await _write(writer, _event({"model": "fake", "choices": [_choice(payload, _word(payload, number), None)]}))
        await _write(writer, _event({"model": "fake", "choices": [_choice(payload, "", "stop")]}))
        await _write(
            writer,
            _event({"model": "fake", "choices": [], "usage": self._usage(payload)})
            + _chunk(b"data: [DONE]\n\n")
            + b"0\r\n\r\n",
        )

    def _reply(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        text = "".join(_word(payload, number) for number in range(self._count(payload)))
        choice = {"index": 0, "finish_reason": "stop"}
        choice |= {"message": {"role": "assistant", "content": text}} if "messages" in payload else {"text": text}
        return {"model": "fake", "choices": [choice], "usage": self._usage(payload)}

    def _count(self, payload: Mapping[str, Any]) -> int:
        return min(self.tokens, payload.get("max_tokens") or self.tokens)

    def _usage(self, payload: Mapping[str, Any]) -> dict[str, int]:
        return {"prompt_tokens": len(_asked(payload)), "completion_tokens": self._count(payload)}


async def _read_request(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _whole(status: int, kind: str, body: str) -> bytes:
    data = body.encode()
    return f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def _asked(payload: Mapping[str, Any]) -> list[str]:
    """The words of the prompt, or of the last message."""
    messages = payload.get("messages")
    return str(messages[-1].get("content") if messages else payload.get("prompt")).split() or ["nothing"]


def _word(payload: Mapping[str, Any], number: int) -> str:
    words = _asked(payload)
    return words[number % len(words)] + " "


def _choice(payload: Mapping[str, Any], text: str, finish: str | None) -> dict[str, Any]:
    content: dict[str, Any] = {"delta": {"content": text} if text else {}} if "messages" in payload else {"text": text}
    return {"index": 0, "finish_reason": finish, **content}


def _event(value: Mapping[str, Any]) -> bytes:
    return _chunk(f"data: {json.dumps(value)}\n\n".encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_FAULTY = {
    "truncated": b"",
    "not_json": _chunk(b"data: {oops\n\n") + b"0\r\n\r\n",
    "error_event": _event({"error": {"message": "out of memory"}}) + b"0\r\n\r\n",
}
