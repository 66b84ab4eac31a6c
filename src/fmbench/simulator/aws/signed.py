"""Signature Version 4, checked. Written from AWS's description of it, not from botocore nor from ``fmbench.wire.signatures``.

Source: "Create a signed AWS API request", AWS Identity and Access Management User Guide.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, unquote

from fmbench.simulator.aws.problems import AwsError
from fmbench.simulator.connection import Incoming

__all__ = ["Caller", "Secrets", "verified"]

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_SECONDS = 300.0
_PARTS = re.compile(rf"{ALGORITHM} Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{{64}})")
NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and"
    " signing method. Consult the service documentation for details."
)
STAMP = "%Y%m%dT%H%M%SZ"


class Caller(NamedTuple):
    """Who sent a request, and where to."""

    access_key: str
    region: str
    service: str


class Secrets(NamedTuple):
    """What belongs to an access key."""

    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"


def verified(incoming: Incoming, keys: Mapping[str, Secrets], now: float) -> Caller:
    """Who signed this request.

    Args:
        incoming: As it came.
        keys: The access keys that there are.
        now: Seconds since the epoch.

    Raises:
        AwsError: nobody did, or not rightly; with AWS's own codes.
    """
    headers = incoming.headers
    given = headers.get("authorization")
    if given is None:
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
    parts = _PARTS.fullmatch(given)
    scope = parts[1].split("/") if parts else []
    if parts is None or len(scope) != 5 or scope[4] != "aws4_request":
        raise AwsError("IncompleteSignatureException", "The Authorization header is not one of Signature Version 4.", 403)
    access_key, day, region, service, _ = scope
    secrets = keys.get(access_key)
    if secrets is None or secrets.token != headers.get("x-amz-security-token"):
        raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.", 403)
    stamp = headers.get("x-amz-date", "")
    _check_time(stamp, day, now)
    names = parts[2].split(";")
    if "host" not in names or any(name not in headers for name in names):
        raise AwsError("InvalidSignatureException", "A signed header is missing, or 'host' is not signed.", 403)
    canonical = _canonical(incoming, names, service)
    said = "\n".join([ALGORITHM, stamp, "/".join(scope[1:]), hashlib.sha256(canonical).hexdigest()])
    key = f"AWS4{secrets.secret_key}".encode()
    for part in (*scope[1:], said):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(key.hex(), parts[3]):
        raise AwsError("InvalidSignatureException", NO_MATCH, 403)
    return Caller(access_key, region, service)


def _check_time(stamp: str, day: str, now: float) -> None:
    try:
        signed = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise AwsError(
            "IncompleteSignatureException", f"Date must be in ISO-8601 'basic format'. Got '{stamp}'.", 403
        ) from None
    if not stamp.startswith(day):
        raise AwsError("InvalidSignatureException", "Date in Credential scope does not match the date of the request.", 403)
    apart = signed.timestamp() - now
    if abs(apart) > SKEW_SECONDS:
        here = datetime.fromtimestamp(now, UTC).strftime(STAMP)
        what = "expired" if apart < 0 else "not yet current"
        side = "earlier" if apart < 0 else "later"
        raise AwsError("InvalidSignatureException", f"Signature {what}: {stamp} is now {side} than {here} and 5 min.", 403)


def _canonical(incoming: Incoming, names: list[str], service: str) -> bytes:
    path, _, query = incoming.path.partition("?")
    pairs = sorted(tuple(quote(unquote(side), safe="-_.~") for side in pair.partition("=")[::2]) for pair in query.split("&"))
    lines = [
        incoming.method,
        # Every service but S3 encodes what is encoded once more.
        path if service == "s3" else quote(path, safe="/-_.~"),
        "&".join("=".join(pair) for pair in pairs) if query else "",
        *(f"{name}:{' '.join(incoming.headers[name].split())}" for name in names),
        "",
        ";".join(names),
        hashlib.sha256(bytes(incoming.body)).hexdigest(),
    ]
    return "\n".join(lines).encode()
