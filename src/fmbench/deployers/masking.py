"""Command lines and environments as they may be shown: what may be a secret is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["blotted", "secrets_in", "shown_command", "shown_environment", "shown_variables"]

HIDDEN = "***"
SHORTEST = 4
"""Characters of a value; blotting out anything shorter would blot out plain words."""
_SOUNDS_SECRET = re.compile(r"key|token(?!iz)|secret|passw|pwd|credential|auth|bearer|signature|cookie", re.IGNORECASE)
_PLAIN = re.compile(r"[+-]?\d{1,9}(\.\d+)?|true|false|yes|no|on|off|auto|none|(fp|bf|float|bfloat|int)\d{1,2}", re.IGNORECASE)
"""Numbers, switches and number formats: what performance depends on, and no secret in itself."""
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def shown_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables with those values that cannot be secrets: numbers, switches and number formats; the others are masked."""
    return {
        name: value if _PLAIN.fullmatch(value) and not _SOUNDS_SECRET.search(name) else HIDDEN for name, value in env.items()
    }


def shown_variables(env: Mapping[str, Any]) -> dict[str, Any]:
    """A container's variables, which tell how it serves: only what sounds secret is masked, and users within URLs."""
    return {
        name: HIDDEN
        if _SOUNDS_SECRET.search(name) and not _PLAIN.fullmatch(str(value))
        else _USER_IN_URL.sub(HIDDEN, value)
        if isinstance(value, str)
        else value
        for name, value in env.items()
    }


def secrets_in(env: Mapping[str, Any]) -> list[str]:
    """The values that ``shown_variables`` masks, the longest first."""
    shown = shown_variables(env)
    hidden = {str(value) for name, value in env.items() if shown[name] == HIDDEN and len(str(value)) >= SHORTEST}
    return sorted(hidden, key=len, reverse=True)


def blotted(text: str, secrets: Iterable[str], *, most: int) -> str:
    """Somebody else's words in one line of at most ``most`` characters, without the secrets that they quote."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def shown_command(words: Sequence[str]) -> str:
    """The command line, with the values of options masked that sound secret, and users and passwords within URLs."""
    shown, hide_next = [], False
    for word in words:
        option, equals, value = word.partition("=")
        sounds = _SOUNDS_SECRET.search(option) is not None and not _PLAIN.fullmatch(value)
        if hide_next and not (word.startswith("-") or _PLAIN.fullmatch(word)):
            shown.append(HIDDEN)
        elif equals and sounds:
            shown.append(f"{option}={HIDDEN}")
        else:
            shown.append(_USER_IN_URL.sub(HIDDEN, word))
        hide_next = word.startswith("-") and not equals and sounds
    return " ".join(shown)
