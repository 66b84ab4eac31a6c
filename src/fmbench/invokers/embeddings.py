"""Replies of the embeddings protocol: one JSON document with vectors, and no tokens."""

from __future__ import annotations

from typing import Any

import orjson

from fmbench import Completion, Head, Usage
from fmbench.invokers.whole import WholeReply

__all__ = ["EmbeddingDecoder"]


class EmbeddingDecoder(WholeReply):
    """Decodes a reply with embeddings; there is no content that could have a first token.

    Args:
        failures: Makes its errors.
    """

    __slots__ = ()

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: the status is an error, or the body holds no embedding.
        """
        body = self._body()
        self._failures.refuse_status(head, body)
        try:
            reply = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise self._failures.not_completion("the reply is not JSON", body, head.status) from None
        if isinstance(reply, dict) and reply.get("error"):
            raise self._failures.of_model(reply)
        if not _holds_vectors(reply):
            raise self._failures.not_completion("the reply holds no embedding", body, head.status)
        usage, model = reply.get("usage"), reply.get("model")
        counts = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return Completion(
            deltas=self.deltas,
            streamed=False,
            usage=Usage(prompt_tokens=counts) if isinstance(counts, int) else None,
            model=model if isinstance(model, str) else None,
        )


def _holds_vectors(reply: Any) -> bool:
    data = reply.get("data") if isinstance(reply, dict) else None
    return isinstance(data, list) and bool(data) and all(isinstance(one, dict) and one.get("embedding") for one in data)
