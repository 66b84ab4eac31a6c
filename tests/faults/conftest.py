"""A server on real sockets that does, for one marked request, exactly what a test tells it, and answers all others well."""

import fcntl
import json
import socket
import struct
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest


class Line:
    """One connection, as a script sees it."""

    def __init__(self, sock):
        self.sock = sock

    def say(self, *parts):
        """Write each part when the client has read the one before: each is read by itself."""
        for part in parts:
            self.sock.sendall(part)
            self._until_read()

    def flood(self, part):
        """Write the same for ever, until the client has hung up."""
        with suppress(ConnectionError):
            while True:
                self.sock.sendall(part)

    def stall(self):
        """Say nothing more, until the client has hung up."""
        with suppress(ConnectionError):
            while self.sock.recv(65536):
                pass

    def reset(self):
        """No orderly end: the client's next read fails."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _until_read(self):
        end = time.monotonic() + 10
        while self._unacknowledged() or self._unread():
            if time.monotonic() > end:
                raise TimeoutError("the client does not read")
            time.sleep(0.001)

    def _unacknowledged(self):
        return struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]

    def _unread(self):
        """What lies in the receiving queue of the client's end, as the kernel tells."""
        try:
            mine, peer = (_as_proc_has_it(address) for address in (self.sock.getsockname(), self.sock.getpeername()))
        except OSError:
            return 0  # the connection is lost
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1:3] == [peer, mine]:
                return int(fields[4].partition(":")[2], 16)
        return 0  # the client has closed it


def _as_proc_has_it(address):
    host, port = address
    [number] = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"


class FaultyServer:
    """For ``with``. A request whose prompt is ``fault`` is handed to ``script(line)``.

    The connection is closed if that says ``over``.

    Args:
        script: What happens to the marked request.
        good: What the others are answered, in parts.
    """

    def __init__(self, script, good):
        self.script = script
        self.good = good
        self.prompts = []
        self._threads = []
        self._lines = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self._begin(self._accept, self._listener)
        return self

    def __exit__(self, *_):
        self.down()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a script has not ended"

    def down(self):
        """Refuse connections, and lose those there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in list(self._lines):
            with suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)

    def up(self):
        """Accept connections again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._begin(self._accept, self._listener)

    def _begin(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener):
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                line = Line(sock)
                self._lines.add(line)
                self._begin(self._serve, line)

    def _serve(self, line):
        with line.sock as sock, suppress(ConnectionError), sock.makefile("rb") as requests:
            while head := _read_head(requests):
                prompt = json.loads(requests.read(_length_of(head)))["messages"][-1]["content"]
                self.prompts.append(prompt)
                if prompt == "fault":
                    if self.script(line) == "over":
                        break
                    continue
                line.say(*self.good)
        self._lines.discard(line)


def _read_head(requests):
    return b"".join(iter(requests.readline, b"\r\n")) if requests.peek(1) else b""


def _length_of(head):
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


@pytest.fixture
def faulty():
    return FaultyServer
