"""Serves a GGUF file with the real llama.cpp server. Started as a script in a child process.

Usage: llama_server.py MODEL PORT SLOTS CONTEXT_TOKENS THREADS ALIAS
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import Any

xllamacpp: Any = import_module("xllamacpp")  # its names are made in C, where no type checker sees them


def main() -> None:
    """Serve until told to end."""
    model, port, slots, context, threads, alias = sys.argv[1:]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(port)
    parameters.n_parallel = int(slots)
    parameters.n_ctx = int(context)
    parameters.cpuparams.n_threads = int(threads)
    parameters.cpuparams_batch.n_threads = int(threads)
    parameters.endpoint_metrics = True
    parameters.warmup = False
    parameters.model_alias = {alias}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:  # what went wrong stands in its own lines before
        sys.exit(f"llama.cpp: {error}")
    while server is not None:  # it serves from threads of its own for as long as something refers to it
        signal.pause()


if __name__ == "__main__":
    main()
