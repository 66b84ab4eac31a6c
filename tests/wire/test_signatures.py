"""AWS's signatures are those that botocore makes."""

import datetime as dt
import time

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Theirs
from hypothesis import given
from hypothesis import strategies as st

from fmbench.wire import Credentials, Signable, Signer

MOMENT = 1_795_000_000
KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
HOST = "runtime.sagemaker.us-east-1.amazonaws.com"
names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda name: f"x-amzn-{name}y")
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
paths = st.text("abcAZ09/-_~%:@!+=,;$", max_size=30)


def ours(
    method="POST", path="/endpoints/my-endpoint/invocations", headers=None, body=b"{}", *, token=None, at=MOMENT, signer=None
):
    signer = signer or Signer(Credentials(**KEYS, token=token), region="us-east-1", service="sagemaker")
    signable = Signable(method, path, host=HOST, headers=headers or {}, body=body)
    lines = signer.sign(signable, at).decode().split("\r\n")
    return dict(line.split(": ", 1) for line in lines)


def theirs(method="POST", path="/endpoints/my-endpoint/invocations", headers=None, body=b"{}", *, token=None, at=MOMENT):
    request = AWSRequest(method, f"https://{HOST}{path}", data=body, headers=dict(headers or {}))
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))
        auth.SigV4Auth(Theirs(KEYS["access_key"], KEYS["secret_key"], token), "sagemaker", "us-east-1").add_auth(request)
    return {
        name: value
        for name, value in request.headers.items()
        if name in {"X-Amz-Date", "X-Amz-Security-Token", "Authorization"}
    }


@pytest.mark.parametrize("token", [None, "session/token+=="])
@pytest.mark.parametrize("body", [b"", b'{"inputs": "na\xc3\xafve"}', b"x" * 100_000])
def test_a_signature_is_botocores(token, body):
    headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Inference-Component": "  a   b "}
    assert ours(headers=headers, body=body, token=token) == theirs(headers=headers, body=body, token=token)


@given(st.sampled_from(["GET", "POST", "PUT"]), paths, st.dictionaries(names, values, max_size=4), st.binary(max_size=20))
def test_whatever_is_signed_it_is_botocores(method, path, headers, body):
    path = "/" + "/".join(part for part in path.split("/") if part)
    assert ours(method, path, headers, body) == theirs(method, path, headers, body)


@pytest.mark.parametrize("query", ["b=2&a=1", "a=2&a=1&ab=", "a", "b=x%20y&a", "a-b=1&a=2", ""])
def test_a_query_is_signed_in_order(query):
    assert ours("GET", f"/x?{query}", body=b"") == theirs("GET", f"/x?{query}", body=b"")


def test_days_seconds_and_new_credentials_are_followed():
    signer = Signer(Credentials(**KEYS), region="us-east-1", service="sagemaker")
    signable = Signable("POST", "/", host=HOST, headers={}, body=b"")
    for at in (MOMENT, MOMENT + 1, MOMENT + 86_400, MOMENT, MOMENT + 0.9):
        assert signer.sign(signable, at).decode().endswith(theirs(path="/", body=b"", at=int(at))["Authorization"])
    signer.credentials = Credentials(access_key="OTHER", secret_key="another", token="t")
    changed = signer.sign(signable, MOMENT).decode()
    assert "Credential=OTHER/" in changed
    assert "X-Amz-Security-Token: t\r\n" in changed
    assert (
        changed
        != Signer(Credentials(**KEYS, token="t"), region="us-east-1", service="sagemaker").sign(signable, MOMENT).decode()
    )
    fresh = Signer(signer.credentials, region="us-east-1", service="sagemaker")
    assert changed == fresh.sign(signable, MOMENT).decode()


def test_without_a_time_it_is_signed_now():
    signed = ours(at=None)
    stamp = dt.datetime.strptime(signed["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    assert abs(stamp.timestamp() - time.time()) < 60


def test_nothing_secret_is_shown():
    shown = repr(Credentials(**KEYS, token="hush"))
    assert KEYS["secret_key"] not in shown
    assert "hush" not in shown
    assert KEYS["secret_key"] not in str(ours())
