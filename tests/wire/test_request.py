"""Requests made ready, and URLs taken apart."""

import pytest

from fmbench import ConfigError
from fmbench.wire.origin import origin_of
from fmbench.wire.request import prepared_request


def made(method="POST", path="/v1/x", headers=None, body=b"", *, url="http://h:8000/base/", once=False):
    return prepared_request(origin_of(url), method, path, headers or {}, body, once=once)


def lines(prepared, request_id="id-1"):
    head, _, body = prepared.with_id(request_id).partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    return first, dict(line.split(": ", 1) for line in rest), body


def test_a_request_whole():
    first, headers, body = lines(made(headers={"X-Team": " a "}, body=b"12345"))
    assert first == "POST /base/v1/x HTTP/1.1"
    assert headers == {
        "Host": "h:8000",
        "User-Agent": "fmbench",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "X-Team": "a",
        "Content-Length": "5",
        "X-Request-Id": "id-1",
    }
    assert body == b"12345"


def test_own_headers_stand_instead_of_the_usual_ones_whatever_their_case():
    _, headers, _ = lines(made(headers={"host": "other", "ACCEPT": "text/event-stream"}))
    assert {"Host", "Accept"}.isdisjoint(headers)
    assert (headers["host"], headers["ACCEPT"]) == ("other", "text/event-stream")


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("HEAD", None), ("DELETE", None), ("POST", "0"), ("PUT", "0")])
def test_the_length_is_told_where_a_body_is_expected(method, length):
    prepared = made(method)
    assert lines(prepared)[1].get("Content-Length") == length
    assert prepared.head_only == (method == "HEAD")


def test_a_connection_for_one_request_says_so():
    assert lines(made(once=True))[1]["Connection"] == "close"


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "X-Request-ID", "Connection"])
def test_headers_that_are_ours_are_refused_with_the_remedy(name):
    with pytest.raises(ConfigError, match=f"header {name} cannot be set: (leave it out|use)"):
        made(headers={name: "1"})


@pytest.mark.parametrize("value", ["secret\r\nX: y", "secret\n", "secret\0", "secret\u2019"])
def test_a_value_that_no_header_may_hold_is_refused_and_not_shown(value):
    with pytest.raises(ConfigError, match="header Authorization cannot be sent") as caught:
        made(headers={"Authorization": value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "X Y", "X:", "Ü", "X\r\nY"])
def test_a_name_that_is_none(name):
    with pytest.raises(ConfigError, match="header name"):
        made(headers={name: "1"})


@pytest.mark.parametrize("path", ["", "v1", "/a b", "/ä", "/a\r\nX: y", "http://other/"])
def test_a_path_that_cannot_be_sent(path):
    with pytest.raises(ConfigError, match="path must begin with /"):
        made(path=path)


@pytest.mark.parametrize("method", ["", "GET /", "G\nT"])
def test_a_method_that_is_none(method):
    with pytest.raises(ConfigError, match="method must be"):
        made(method)


@pytest.mark.parametrize("request_id", ["a\r\nX: y", "ä", "a\0"])
def test_an_id_that_cannot_be_sent(request_id):
    with pytest.raises(ConfigError, match="id must be printable"):
        made().with_id(request_id)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path", "secure", "shown"),
    [
        ("http://h", "h", 80, "h", "", False, "h:80"),
        ("https://h/", "h", 443, "h", "", True, "h:443"),
        ("HTTP://H:8080/a/b/", "h", 8080, "h:8080", "/a/b", False, "h:8080"),
        ("http://[::1]:81/x", "::1", 81, "[::1]:81", "/x", False, "[::1]:81"),
        (
            "https://bücher.example",
            "xn--bcher-kva.example",
            443,
            "xn--bcher-kva.example",
            "",
            True,
            "xn--bcher-kva.example:443",
        ),
    ],
)
def test_an_url_taken_apart(url, host, port, authority, path, secure, shown):
    origin = origin_of(url)
    assert (origin.host, origin.port, origin.authority) == (host, port, authority)
    assert (origin.path, origin.secure, str(origin)) == (path, secure, shown)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("127.0.0.1:80", "http://"),
        ("ftp://x/", "http://"),
        ("http://", "http://"),
        ("http://x:99999", "cannot be read"),
        ("http://x:eighty", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://x/?key=1", "end with its path"),
        ("http://x/#a", "end with its path"),
        ("http://x/a b", "percent-encoded"),
        ("http://" + "x" * 70, "name a host"),
        ("http://a\0b", "name a host"),
        ("http://a b:80", "name a host"),
    ],
)
def test_an_url_that_cannot_be_used(url, match):
    with pytest.raises(ConfigError, match=match):
        origin_of(url)


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_password_in_an_url_is_refused_and_not_shown(scheme):
    with pytest.raises(ConfigError, match="user or password") as caught:
        origin_of(f"{scheme}://me:hunter2@x/")
    assert "hunter2" not in str(caught.value)
