"""Images in chat messages: files become data URLs, which is how they travel."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fmbench import ConfigError

__all__ = ["with_data_urls"]


def with_data_urls(messages: Sequence[Mapping[str, Any]], prompt_id: str) -> list[Mapping[str, Any]]:
    """The messages with every image that is a file (a path or ``file:`` URL) as a data URL; other addresses stay.

    Raises:
        ConfigError: there is no such file, or it is no image.
    """
    return [_message(message, prompt_id) for message in messages]


def _message(message: Mapping[str, Any], prompt_id: str) -> Mapping[str, Any]:
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return message
    return {**message, "content": [_part(part, prompt_id) for part in content]}


def _part(part: Any, prompt_id: str) -> Any:
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    named = image if isinstance(image, Mapping) else {"url": image}
    url = str(named.get("url") or "")
    if urlsplit(url).scheme in ("data", "http", "https"):
        return part
    path = Path(unquote(url.removeprefix("file://"))).expanduser()
    return {**part, "image_url": {**named, "url": _data_url(path, prompt_id)}}


def _data_url(path: Path, prompt_id: str) -> str:
    kind, _ = mimetypes.guess_type(path.name)
    if kind is None or not kind.startswith("image/"):
        raise ConfigError(f"prompt {prompt_id!r}: {path} does not end like an image's name, such as .png or .jpg")
    try:
        version = path.stat()
        return f"data:{kind};base64,{_encoded(path, version.st_mtime_ns, version.st_size)}"
    except OSError as error:
        raise ConfigError(f"prompt {prompt_id!r}: the image {path} cannot be read: {error.strerror or error}") from None


@lru_cache(maxsize=32)
def _encoded(path: Path, modified_ns: int, size: int) -> str:  # noqa: ARG001 - what tells one version of a file from another
    """A file in base 64, kept: a conversation's later turns, which are made while measuring, send its images again."""
    return base64.b64encode(path.read_bytes()).decode()
