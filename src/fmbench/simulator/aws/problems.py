"""What AWS answers when it does not do as asked."""

from __future__ import annotations

__all__ = ["AwsError"]


class AwsError(Exception):
    """An error of the control plane.

    Args:
        code: AWS's name for it.
        message: What it says.
        status: The HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
