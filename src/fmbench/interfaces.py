"""The four interfaces an adapter may offer, and what is handed to it. Nobody must inherit from anything."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from anyio import move_on_after

from fmbench.journal import Entries, Journal
from fmbench.types import Completion, Delta, Facts, Head, Parameters, Prompt, Request

if TYPE_CHECKING:
    from fmbench.result import Result

__all__ = [
    "Decoder",
    "Deployer",
    "Endpoint",
    "Exchange",
    "Invoker",
    "PromptSource",
    "Reporter",
    "Run",
    "Session",
    "Tokenizer",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Something that answers.

    Args:
        name: What people call it.
        url: Its root, before any path such as ``/v1``.
        model: The name requests ask for.
        facts: What is known of it (instance type, container, price …); kept in ``run.json``, so no secrets.
        invoker: The invoker that speaks its protocol, where the deployer knows.
        tokenizer: Its tokenizer (a folder or a ``Tokenizer``), where the deployer knows.
    """

    name: str
    url: str
    model: str | None = None
    facts: Facts = field(default_factory=dict)
    invoker: Invoker | None = None
    tokenizer: Any = None


class Run:
    """What a deployer is told of the run it works for, and where it writes down what it creates."""

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        tags: Mapping[str, str],
        deadline: float | None = None,
        undo_seconds: float = 600,
        entries: Entries | None = None,
    ) -> None:
        self.name = name
        self.directory = directory
        self.tags = tags
        self.deadline = deadline
        """When the run must be over, in seconds since the epoch; ``None`` without a limit."""
        self._undo_seconds = undo_seconds
        self._journal = Journal(directory)
        self._entries = entries

    @asynccontextmanager
    async def undoing(self) -> AsyncGenerator[None]:
        """Shield what is awaited inside from cancellation, for at most the run's time limit for undoing.

        Raises:
            TimeoutError: the time limit passed.
        """
        with move_on_after(self._undo_seconds, shield=True) as scope:
            yield
        if scope.cancelled_caught:
            raise TimeoutError(f"undoing took longer than {self._undo_seconds:g} s")

    def creating(self, handle: Any, usd_per_hour: float | None = None, *, keep: bool = False) -> None:
        """Write down, before it is created, a thing that costs; it is on disk when this returns.

        The first such thing of a run starts the watchdog, and waits until it is up.

        Args:
            handle: Anything JSON can hold, enough for ``delete(handle)`` in a fresh process: names, region, account.
            usd_per_hour: What it costs, all its instances together, where known; 0 for what only belongs to it.
            keep: Whether it is to stand when the run is over, or gone: nothing deletes it then but its deployer, or
                ``fmbench cleanup --kept``. Said again for the same handle, the last word counts.

        Raises:
            FmbenchError: the watchdog does not come up. The thing must not be created.
        """
        if self._entries is None:
            self._journal.creating(handle, usd_per_hour=usd_per_hour, deadline=self.deadline, keep=keep)
        else:
            self._entries.creating(handle, usd_per_hour, keep=keep)

    def deleted(self, handle: Any) -> None:
        """Write down that a thing is gone."""
        if self._entries is None:
            self._journal.deleted(handle)
        else:
            self._entries.deleted(handle)


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Exchange:
    """One request in flight, as its adapter sees it: an adapter reports what happens, and never reads the clock.

    Calls may come from any thread; after ``send`` has ended they are ignored.
    """

    __slots__ = (
        "_closed", "_last_at", "_now", "client_delay_ns", "connect_ns", "head_at", "headers", "id", "kernel", "on_piece",
        "pieces", "sent_at", "sign_ns", "stamps", "status", "tls_ns",
    )  # fmt: skip

    def __init__(self, id: str, now: Callable[[], int]) -> None:  # noqa: A002 - its public name
        self.id: str = id
        """Goes out as ``X-Request-Id``."""
        self.pieces: list[Any] = []
        self.stamps: array[int] = array("q")
        """The arrival of each piece, in nanoseconds of ``time.perf_counter_ns``."""
        self.sent_at: int | None = None
        self.head_at: int | None = None
        self.status: int | None = None
        self.headers: Mapping[str, str] = NO_HEADERS
        self.connect_ns: int | None = None
        self.tls_ns: int | None = None
        self.sign_ns: int | None = None
        self.client_delay_ns: int | None = None
        """The worst of: the reader's own time minus the kernel's."""
        self.kernel: bool = True
        """Whether every stamp so far is the kernel's; a transport that had to stamp itself says so here."""
        self._closed = False
        self._last_at = -1
        self._now = now
        self.on_piece: Callable[[], None] | None = None
        """The engine's: called after each piece."""

    def sent(self, at: int | None = None) -> None:
        """Say that the first byte is about to be written."""
        if not self._closed:
            self.sent_at = self._now() if at is None else at

    def spent(self, connect_ns: int = 0, tls_ns: int = 0, sign_ns: int = 0) -> None:
        """Say what was spent before the request could be sent, in nanoseconds; calls add up."""
        if self._closed:
            return
        if connect_ns:
            self.connect_ns = (self.connect_ns or 0) + connect_ns
        if tls_ns:
            self.tls_ns = (self.tls_ns or 0) + tls_ns
        if sign_ns:
            self.sign_ns = (self.sign_ns or 0) + sign_ns

    def head(self, status: int, headers: Mapping[str, str], at: int | None = None) -> None:
        """Hand over the reply's status and headers (names in lower case)."""
        if not self._closed:
            self.status = status
            self.headers = headers
            self.head_at = self._stamp(at)

    def piece(self, data: Any, at: int | None = None) -> None:
        """Hand over a piece of the reply.

        Args:
            data: Bytes, or whatever the session's ``decode`` takes.
            at: When the kernel had it, in nanoseconds of ``time.perf_counter_ns``, from a transport that knows; pieces
                with the same ``at`` shared a read.
        """
        if self._closed:
            return
        if at is None or at != self._last_at:
            at = self._stamp(at)
        self.stamps.append(at)
        self.pieces.append(data)
        if self.on_piece is not None:
            self.on_piece()

    def close(self) -> None:
        """The engine's: ``send`` has ended, and later calls are ignored."""
        self._closed = True
        self.on_piece = None  # it holds on to us: without it, nobody has to look for what is left of a request

    def _stamp(self, at: int | None) -> int:
        if at is None:
            self.kernel = False
            return self._now()
        self._last_at = at
        if self.kernel:
            delay = self._now() - at
            if self.client_delay_ns is None or delay > self.client_delay_ns:
                self.client_delay_ns = delay
        return at


@runtime_checkable
class Deployer(Protocol):
    """Brings an endpoint up and takes it down.

    May also have: ``describe() -> Facts`` (what is known before deploying: price, instance type), ``exclusive`` (deployers
    with the same value other than ``None`` are entered one after another), ``invoker``, ``name`` (or ``label``, a default for
    it), ``resource`` (what it will create, where the user named it: two of one benchmark must not have the same other than
    ``None``), and, if it creates anything that costs, ``async delete(handle) -> bool``.
    """

    def deploy(self, run: Run) -> AbstractAsyncContextManager[Endpoint]:
        """Yield the endpoint once it answers; remove all that was made on success, failure and cancellation."""
        ...


@runtime_checkable
class PromptSource(Protocol):
    """Yields prompts, the same ones each time; a list of ``Prompt`` is one.

    May also have ``counted_by(tokenizer: Tokenizer) -> PromptSource``: the same prompts, counted by the case's tokenizer,
    ``needs_tokenizer``: whether nothing can be drawn without one, so that drawing waits for the endpoint to bring it,
    ``for_model(names) -> PromptSource``: the same prompts in the template of a deployment or model that is called so,
    ``dropped``: how many rows were left out, by reason; and ``check()``, which raises ``ConfigError`` for what is missing, such
    as a file, before anything is deployed.
    """

    def __iter__(self) -> Iterator[Prompt]: ...


@runtime_checkable
class Decoder(Protocol):
    """Decodes one reply piece by piece, while it still arrives."""

    @property
    def deltas(self) -> Sequence[Delta]:
        """What was decoded so far: the partial reply of a request that fails."""
        ...

    def feed(self, piece: Any) -> None:
        """Take the next piece."""
        ...

    def close(self, head: Head) -> Completion:
        """The reply has ended: say what it was, or raise ``InvokeError``."""
        ...


@runtime_checkable
class Session(Protocol):
    """An open conversation with one endpoint. Only ``send`` is timed.

    May also have ``decoder() -> Decoder``: then replies are decoded while they arrive and their bytes are not kept; and
    ``clock_step_ns``: by how much the mapping from the kernel's clock to ours has changed between two looks at most; and
    ``write_delay_ns``: how long after ``sent`` the kernel had a request, at the 99th percentile.
    """

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        """Make the request; off the clock. Raises ``InvokeError`` or ``ConfigError`` for what the protocol cannot say."""
        ...

    async def send(self, request: Request, exchange: Exchange) -> None:
        """Send it and hand each piece of the reply to ``exchange``; on the clock."""
        ...

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:
        """Say which piece carried what; off the clock. Raises ``InvokeError`` for a reply that is an error or incomplete."""
        ...


@runtime_checkable
class Invoker(Protocol):
    """Speaks an endpoint's protocol.

    May also have ``check(parameters: Parameters)``, which raises ``ConfigError`` for what the protocol cannot say; it is
    asked before anything is deployed.
    """

    def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AbstractAsyncContextManager[Session]:
        """Open a session, with as many connections as requests will be in flight (``None``: not known)."""
        ...


@runtime_checkable
class Reporter(Protocol):
    """Shows a result: a file, a page, a chart, a tracking server."""

    def report(self, result: Result, directory: Path) -> Sequence[Path]:
        """Write below ``directory`` and name what was written; the result is not changed."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Counts tokens.

    May also have ``count_messages(conversations) -> list[int]``: the length of each list of chat messages after the chat
    template, up to where the answer begins; and ``has_chat_template``: whether there is one.
    """

    def count(self, texts: Sequence[str]) -> list[int]:
        """The length of each text in tokens, special tokens as the tokenizer adds them."""
        ...
