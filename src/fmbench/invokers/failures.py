"""What servers say when they fail, as errors with a kind and one line for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson

from fmbench import Head, InvokeError

__all__ = ["NO_FAILURES", "Failures"]

MOST_MESSAGE = 300
"""Characters of a server's message that are kept."""
SHORTEST_SECRET = 8
"""Anything shorter would blot out plain words."""

_SECRET_PARTS = re.compile(r"(?<=//)[^/?#]*@|[?#].*")
"""User and password, and what stands behind the path of an address."""

_KINDS = {400: "validation", 401: "unauthorized", 403: "unauthorized", 404: "not_found", 413: "validation", 422: "validation"}
_KINDS |= {429: "throttled", 503: "not_ready"}


class Failures:
    """Makes the errors of one session; what must stay secret is blotted out of servers' messages, since some echo it.

    Args:
        secrets: Values of headers; a scheme before the credential, as in ``Bearer …``, does not matter.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        words = {word for secret in secrets for word in secret.split() if len(word) >= SHORTEST_SECRET}
        self._secrets = sorted(words, key=len, reverse=True)

    def refuse_status(self, head: Head, body: bytes) -> None:
        """Raise for a status that is no success.

        Args:
            head: The reply's status and headers.
            body: Its body, or the start of it.

        Raises:
            InvokeError: the status says so; its kind is in ``InvokeError``'s list.
        """
        status = head.status
        if status is None:
            raise InvokeError("incomplete", "there was no reply")
        if not 200 <= status < 300:
            kind = _KINDS.get(status, "server" if status >= 500 else "http")
            raise InvokeError(kind, f"HTTP {status}: {self._told(head, body)}", status)

    def of_model(self, reply: dict[str, Any]) -> InvokeError:
        """The error for a reply that began well and holds an error."""
        return InvokeError("model_error", self._message(reply) or "the server reported an error and did not say which")

    def not_completion(self, what: str, body: bytes, status: int | None = None) -> InvokeError:
        """The error for something else than a completion; ``what`` says what it is instead."""
        return InvokeError("decode", f"{what}: {self.shortened(body)}", status)

    def not_events(self, head: Head, body: bytes) -> InvokeError | None:
        """The error for a body that is no event stream at all; ``None`` where it may be one."""
        if (told := not_json(head, body)) is not None:
            return InvokeError("decode", told, head.status)
        if body.lstrip()[:1] in (b"{", b"["):
            what = "a whole JSON document came instead of an event stream; is streaming supported there?"
            return InvokeError("decode", f"{what} {self.shortened(body)}", head.status)
        return None

    def _told(self, head: Head, body: bytes) -> str:
        try:
            message = self._message(orjson.loads(body))
        except orjson.JSONDecodeError:
            message = None
        if message is None and 300 <= (head.status or 0) < 400:
            message = f"a redirect to {self._place(head)}, which is not followed: use that address"
        return message or not_json(head, body) or self.shortened(body) or "no message"

    def _place(self, head: Head) -> str:
        """Where a redirect leads, without what may be secret in it."""
        location = head.headers.get("location")
        return "nowhere" if not location else self.shortened(_SECRET_PARTS.sub("", location))

    def _message(self, reply: Any) -> str | None:
        """What a server says went wrong, in any of the usual shapes."""
        if not isinstance(reply, dict):
            return None
        error = reply.get("error", reply)
        if isinstance(error, dict):
            error = error.get("message") or error.get("detail") or error.get("type") or error.get("code")
        return None if error is None else self.shortened(error if isinstance(error, str) else str(error))

    def shortened(self, text: bytes | str) -> str:
        """A server's words in one line, not too long, without what must stay secret."""
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        text = " ".join(text.split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text if len(text) <= MOST_MESSAGE else text[: MOST_MESSAGE - 1] + "…"


NO_FAILURES = Failures()
"""With nothing to blot out."""


def not_json(head: Head, body: bytes) -> str | None:
    """What to say of a page where JSON was due; ``None`` where it is no page."""
    kind = head.headers.get("content-type", "")
    if "html" in kind or body.lstrip()[:1] == b"<":
        return "HTML came instead of JSON: is the URL the API's root, and not a web page's or a proxy's?"
    return None
