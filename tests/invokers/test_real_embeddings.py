"""Embeddings of the real llama.cpp server: a latency for each, the server's own count of the prompt, and no tokens to time."""

import sys

import pytest

from fmbench import Benchmark, Concurrency, Prompt
from fmbench.deployers import Process
from fmbench.deployers.serving import free_port
from fmbench.deployers.tiny_llama import make_tiny_llama
from fmbench.invokers import OpenAI
from fmbench.recording import read_table

pytest.importorskip("xllamacpp", reason="the local extra is not installed")
pytest.importorskip("gguf", reason="the local extra is not installed")

SERVE = """
import signal, sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port = sys.argv[1], int(sys.argv[2])
parameters.hostnames = ["127.0.0.1"]
parameters.n_ctx, parameters.n_parallel = 1024, 2
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
parameters.embedding, parameters.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
parameters.warmup = False
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = xllamacpp.Server(parameters)
while True:
    signal.pause()
"""


def test_llama_cpps_embeddings_are_measured(tmp_path):
    port, folder = free_port(), make_tiny_llama()
    server = Process([sys.executable, "-c", SERVE, str(folder / "model.gguf"), str(port)], url=f"http://127.0.0.1:{port}")
    result = Benchmark(
        deployers=server,
        prompts=[Prompt(id=f"p{number}", text=f"passage {number} " * (number + 1)) for number in range(12)],
        loads=Concurrency(2, requests=12),
        invoker=OpenAI(api="embeddings", keep_alive=False),
        tokenizer=folder,
    ).run(tmp_path / "run")
    rows = [row for row in read_table(tmp_path / "run").to_pylist() if row["phase"] == "measured"]
    assert [row["error_message"] for row in rows if row["status"] != "ok"] == []
    assert all(row["prompt_tokens_source"] == "server" and row["first_token_ns"] is None for row in rows)
    lengths = [row["prompt_tokens"] for row in sorted(rows, key=lambda row: int(row["prompt_id"][1:]))]
    assert lengths == sorted(lengths)
    [experiment] = result.experiments
    assert experiment.latency.p50 > 0
    assert experiment.ttft.p50 is None
