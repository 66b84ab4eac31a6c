"""Proxies in the environment are refused aloud, except where they would not be used anyway."""

import asyncio
import os

import pytest

from fmbench import Benchmark, Concurrency, ConfigError, Prompt
from fmbench.deployers import ExistingEndpoint
from fmbench.testing import FakeServer
from fmbench.wire import connect, refuse_proxy

SECRET = "http://me:hunter2@proxy.example:3128"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("url", "environment", "told"),
    [
        ("http://model.example", {"HTTP_PROXY": SECRET}, "HTTP_PROXY"),
        ("http://model.example", {"http_proxy": SECRET}, "http_proxy"),
        ("http://model.example", {"HTTP_PROXY": SECRET, "http_proxy": SECRET}, "http_proxy"),
        ("http://model.example", {"HTTPS_PROXY": SECRET}, None),
        ("https://model.example", {"HTTPS_PROXY": SECRET, "HTTP_PROXY": SECRET}, "HTTPS_PROXY"),
        ("https://model.example", {"HTTP_PROXY": SECRET}, None),
        ("https://model.example", {"ALL_PROXY": SECRET}, "ALL_PROXY"),
        ("http://model.example", {"all_proxy": SECRET}, "all_proxy"),
        ("http://model.example", {"HTTP_PROXY": SECRET, "http_proxy": ""}, None),
        ("http://model.example", {"HTTP_PROXY": ""}, None),
        ("http://model.example", {}, None),
        ("http://10.1.2.3:8000", {"HTTP_PROXY": SECRET}, "HTTP_PROXY"),
        ("http://[2001:db8::1]:8000", {"HTTP_PROXY": SECRET}, "HTTP_PROXY"),
    ],
)
def test_the_variable_that_counts_is_named_and_its_value_is_not(monkeypatch, url, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if told is None:
        refuse_proxy(url)
        return
    with pytest.raises(ConfigError, match=f"^{told} names a proxy for .*: add .* to NO_PROXY to connect directly$") as caught:
        refuse_proxy(url)
    assert "hunter2" not in str(caught.value)
    assert "proxy.example" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "excepted", "direct"),
    [
        ("http://model.example:8000", "model.example", True),
        ("http://MODEL.example", "other, Model.Example", True),
        ("http://a.model.example", "model.example", True),
        ("http://a.model.example", ".model.example", True),
        ("http://model.example", "example.com", False),
        ("http://mymodel.example", "model.example", False),
        ("http://model.example:8000", "model.example:8000", True),
        ("http://model.example:8000", "model.example:9000", False),
        ("http://model.example", "model.example:80", True),
        ("http://model.example", "*", True),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://10.1.2.3:8000", "10.1.2.3:8000", True),
        ("http://10.1.2.3:8000", "10.1.2.3:80", False),
        ("http://model.example.", "model.example", True),
        ("http://10.1.2.3", "192.168.0.0/16, 10.0.0.0/8", True),
        ("http://10.1.2.3", "10.1.0.1/16", True),
        ("http://10.1.2.3", "10.2.0.0/16", False),
        ("http://model.example", "10.0.0.0/8", False),
        ("http://[2001:db8::1]:8000", "2001:db8::1", True),
        ("http://[2001:db8::1]:8000", "2001:db8::/32", True),
        ("http://[2001:db8::1]:8000", "2001:db9::/32", False),
        ("http://model.example", "", False),
    ],
)
def test_hosts_are_excepted_as_they_are_elsewhere(monkeypatch, url, excepted, direct):
    monkeypatch.setenv("HTTP_PROXY", SECRET)
    monkeypatch.setenv("NO_PROXY", excepted)
    if direct:
        refuse_proxy(url)
    else:
        with pytest.raises(ConfigError):
            refuse_proxy(url)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_the_loopback_interface_is_behind_no_proxy(monkeypatch, host):
    monkeypatch.setenv("ALL_PROXY", SECRET)
    refuse_proxy(f"http://{host}:8000")


@pytest.mark.parametrize("host", ["localhost.example", "notlocalhost", "128.0.0.1"])
def test_a_host_that_only_looks_like_the_loopback_interface_is_behind_it(monkeypatch, host):
    monkeypatch.setenv("ALL_PROXY", SECRET)
    with pytest.raises(ConfigError):
        refuse_proxy(f"http://{host}")


def test_nothing_is_looked_up_or_connected_before_it_is_refused(run, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", SECRET)

    async def main():
        async with connect("http://no-such-host.invalid"):
            pass

    with pytest.raises(ConfigError, match=r"add no-such-host\.invalid to NO_PROXY"):
        run(main())


def test_a_run_says_it_in_the_place_of_a_time_out_and_measures_the_others(monkeypatch, tmp_path):
    monkeypatch.setenv("HTTP_PROXY", SECRET)
    with FakeServer() as server:
        result = Benchmark(
            deployers=[ExistingEndpoint("http://no-such-host.invalid", name="far"), ExistingEndpoint(server.url, name="near")],
            prompts=[Prompt(id="p", text="hi")],
            loads=Concurrency(1, requests=2),
        ).run(tmp_path / "run")
    assert [experiment.status for experiment in result.experiments] == ["not_sent", "measured"]
    [row] = [entry for entry in result.deployments if entry.name == "far"]
    assert "HTTP_PROXY names a proxy for no-such-host.invalid:80" in row.error["message"]
    written = (tmp_path / "run" / "run.json").read_text(encoding="utf-8")
    assert "hunter2" not in written


def test_a_direct_connection_is_had_where_the_environment_excepts_the_host(monkeypatch, run, serving, exchange):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def act(reader, writer, head):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()

    async def main():
        async with serving(act) as (url, _), connect(url) as client:
            sink = exchange()
            await asyncio.wait_for(client.send(client.prepare("POST", "/"), sink), 5)
            return sink

    assert run(main()).pieces == [b"hello"]
