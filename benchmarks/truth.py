"""The truth server as a deployer, and its log."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fmbench import Endpoint, Run

SOURCE = Path(__file__).with_name("truth_server.c")


@contextmanager
def compiled(*, tls: bool = False) -> Iterator[Path]:
    """The server's program, in a folder of its own; with TLS, which OpenSSL's headers are needed for, where asked for."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the truth server is a C program: install a C compiler")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "truth_server"
        options = (["-DTLS"], ["-lssl", "-lcrypto"]) if tls else ([], [])
        command = [compiler, "-O2", *options[0], "-o", str(program), str(SOURCE), *options[1]]
        if subprocess.run(command, check=False).returncode != 0:
            remedy = "; TLS needs OpenSSL's headers (libssl-dev, openssl-devel)" if tls else ""
            raise SystemExit(f"the truth server cannot be compiled{remedy}")
        yield program


@contextmanager
def trusted_certificate() -> Iterator[Path]:
    """A folder with ``cert.pem`` and ``key.pem`` for the loopback address, which this process trusts meanwhile."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise SystemExit("a certificate is made by the openssl command: install it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=truth", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"),
             "-out", str(folder / "cert.pem")],
            check=True, capture_output=True,
        )  # fmt: skip
        before = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(folder / "cert.pem")  # OpenSSL's own variable for whom to trust
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["SSL_CERT_FILE"]
            else:
                os.environ["SSL_CERT_FILE"] = before


@dataclass(frozen=True)
class TruthServer:
    """Starts the server on one core and takes it down; its log is complete when the deployer's context is left."""

    program: Path
    log: Path
    core: int | None = 0
    ttft_us: int = 50_000
    itl_us: int = 10_000
    tokens: int = 128
    name: str = "truth"
    certificate: Path | None = None
    """The folder of ``trusted_certificate``: it speaks TLS then."""
    awake: bool = False
    """Whether it never sleeps: waking a sleeping core takes a virtual machine 10 µs and more, on the sender's own time."""
    limit_seconds: int = 120
    """After which it ends by itself, should nobody end it."""

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:  # noqa: ARG002 - it needs nothing of the run
        """Start it, and end it by closing its standard input."""
        command = [
            str(self.program),
            "--ttft-us",
            str(self.ttft_us),
            "--itl-us",
            str(self.itl_us),
            "--tokens",
            str(self.tokens),
            "--limit-seconds",
            str(self.limit_seconds),
            "--awake",
            str(int(self.awake)),
        ]
        if self.certificate is not None:
            command += ["--cert", str(self.certificate / "cert.pem"), "--key", str(self.certificate / "key.pem")]
        server = subprocess.Popen(  # noqa: ASYNC220 - nothing is measured yet
            [*command, "--log", str(self.log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            if self.core is not None:
                os.sched_setaffinity(server.pid, {self.core})
            if server.stdout is None or server.stdin is None:
                raise RuntimeError("the server has no pipes")
            port = int(server.stdout.readline().split()[1])
            scheme = "http" if self.certificate is None else "https"
            yield Endpoint(name=self.name, url=f"{scheme}://127.0.0.1:{port}", model="truth")
        finally:
            server.communicate()


@dataclass(frozen=True)
class Truth:
    """What happened to one request, in nanoseconds of ``time.perf_counter_ns``."""

    received: int
    sent: Sequence[int]


def read_log(path: Path) -> dict[str, Truth]:
    """The server's log, by request id."""
    truths = {}
    for line in path.read_text(encoding="ascii").splitlines():
        identifier, received, *sent = line.split(" ")
        truths[identifier] = Truth(int(received), [int(at) for at in sent])
    return truths
