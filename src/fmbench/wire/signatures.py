"""AWS's signature, version 4, for requests that are made ready off the clock and signed just before they are sent.

Source: "Create a signed AWS API request" in AWS's IAM User Guide. A signature holds for five minutes, so that it cannot be made
long before; what of it does not depend on the time is made once, and the day's key is kept: what is left takes microseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

__all__ = ["Credentials", "Signable", "Signer"]

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who signs. What is secret is in no ``repr``."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """Of a session, where there is one."""


class Signable:
    """A request as it is signed, all but its time.

    Args:
        method: Such as ``POST``.
        path: The whole path as it is sent, percent-encoded, with what stands behind a ``?``; no empty part, no ``.`` or ``..``.
        host: The ``Host`` header.
        headers: What else is signed; their order and case do not matter.
        body: What is sent.
    """

    __slots__ = ("_body_hash", "_headers", "_method", "_path", "_query")

    def __init__(self, method: str, path: str, *, host: str, headers: Mapping[str, str], body: bytes) -> None:
        plain, _, query = path.partition("?")
        self._method = method
        # Encoded twice, since AWS decodes once before it compares; of all services only S3 does not.
        self._path = quote(plain or "/", safe="/~")
        pairs = sorted(pair.partition("=") for pair in query.split("&") if pair)
        self._query = "&".join(f"{name}={value}" for name, _, value in pairs)
        self._headers = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"host": host}
        self._body_hash = hashlib.sha256(body).hexdigest()

    def canonical(self, more: Mapping[str, str]) -> tuple[str, str, str]:
        """What is hashed before the value of ``x-amz-date``, what is behind it, and the names of the signed headers."""
        headers = dict(sorted({**self._headers, **more, "x-amz-date": ""}.items()))
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        before, date, after = lines.partition("x-amz-date:")
        start = f"{self._method}\n{self._path}\n{self._query}\n{before}{date}"
        return start, f"{after}\n{names}\n{self._body_hash}", names


class Signer:
    """Signs requests for one service in one region.

    Args:
        credentials: Who signs; may be set anew at any time, as temporary ones must be.
        region: Such as ``us-east-1``.
        service: The name it signs under, such as ``sagemaker``.
    """

    def __init__(self, credentials: Credentials, *, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self.credentials = credentials

    @property
    def credentials(self) -> Credentials:
        """Who signs."""
        return self._credentials

    @credentials.setter
    def credentials(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._more = {} if credentials.token is None else {"x-amz-security-token": credentials.token}
        self._token = "" if credentials.token is None else f"X-Amz-Security-Token: {credentials.token}\r\n"
        self._second, self._stamp, self._day, self._scope, self._key = -1, "", "", "", b""
        self._prepared: dict[Signable, tuple[hashlib._Hash, bytes, str]] = {}

    def prepare(self, signable: Signable) -> None:
        """Do now, off the clock, what ``sign`` would do the first time."""
        start, end, names = signable.canonical(self._more)
        self._prepared[signable] = hashlib.sha256(start.encode()), end.encode(), names

    def sign(self, signable: Signable, at: float | None = None) -> bytes:
        """The lines of a request's head that sign it, without the last line end; they hold for five minutes.

        Args:
            signable: The request.
            at: When, in seconds since the epoch; now, where it is not given.
        """
        self._turn_to(int(time.time() if at is None else at))
        if signable not in self._prepared:
            self.prepare(signable)
        begun, end, names = self._prepared[signable]
        whole = begun.copy()
        whole.update(self._stamp.encode())
        whole.update(end)
        text = f"{ALGORITHM}\n{self._stamp}\n{self._scope}\n{whole.hexdigest()}"
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        return (
            f"X-Amz-Date: {self._stamp}\r\n{self._token}Authorization: {ALGORITHM} "
            f"Credential={self._credentials.access_key}/{self._scope}, SignedHeaders={names}, Signature={signature}"
        ).encode()

    def _turn_to(self, second: int) -> None:
        """Have the time stamp of this second, and the key of its day."""
        if second == self._second:
            return
        self._second, self._stamp = second, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = self._stamp[:8]
        if day == self._day:
            return
        key = f"AWS4{self._credentials.secret_key}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._day, self._scope, self._key = day, f"{day}/{self._region}/{self._service}/aws4_request", key
