"""Requests are refused unless the account's own secret signed just these bytes, just now."""

import urllib.error
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from fmbench.simulator.aws import AwsOptions, OfflineAWS
from fmbench.simulator.aws.problems import AwsError
from fmbench.simulator.aws.signed import Secrets, verified
from fmbench.simulator.connection import Incoming

BODY = b'{"NameContains":"x"}'
HEADERS = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "SageMaker.ListEndpoints"}


def signed(aws, *, body=BODY, path="/", secret=None, key=None, token=None):
    options = aws.options
    credentials = Credentials(key or options.access_key, secret or options.secret_key, token)
    request = AWSRequest("POST", aws.url + path, data=body, headers=HEADERS)
    SigV4Auth(credentials, "sagemaker", "us-east-1").add_auth(request)
    return dict(request.headers)


def answer(aws, headers, *, body=BODY, path="/"):
    request = urllib.request.Request(aws.url + path, method="POST", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["x-amzn-ErrorType"]


def test_botocores_signature_is_good(aws):
    assert answer(aws, signed(aws)) == (200, None)


@pytest.mark.parametrize("path", ["/?a=1&b=%2F&a=0", "/endpoints/a%20b/invocations?x=~"])
def test_paths_and_queries_are_read_as_aws_reads_them(aws, path):
    status, error = answer(aws, signed(aws, path=path), path=path)
    assert error not in {"InvalidSignatureException", "IncompleteSignatureException"}
    assert status in {200, 400}


def test_another_secret_is_refused(aws):
    assert answer(aws, signed(aws, secret="wrong")) == (403, "InvalidSignatureException")


def test_an_unknown_key_is_refused(aws):
    assert answer(aws, signed(aws, key="NOBODY")) == (403, "UnrecognizedClientException")


def test_a_token_that_is_not_the_keys_is_refused(aws):
    assert answer(aws, signed(aws, token="another")) == (403, "UnrecognizedClientException")


def test_another_body_than_was_signed_is_refused(aws):
    assert answer(aws, signed(aws), body=BODY + b" ") == (403, "InvalidSignatureException")


def test_another_path_than_was_signed_is_refused(aws):
    assert answer(aws, signed(aws), path="/?x=1") == (403, "InvalidSignatureException")


def test_no_signature_is_refused(aws):
    assert answer(aws, HEADERS) == (403, "MissingAuthenticationTokenException")


def test_half_a_signature_is_refused(aws):
    headers = signed(aws) | {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}
    assert answer(aws, headers) == (403, "IncompleteSignatureException")


def test_a_session_token_belongs_to_its_key():
    with OfflineAWS(session_token="the-session's") as aws:
        assert aws.environment["AWS_SESSION_TOKEN"] == "the-session's"
        assert answer(aws, signed(aws, token="the-session's")) == (200, None)
        assert answer(aws, signed(aws)) == (403, "UnrecognizedClientException")


@pytest.mark.parametrize("service", ["sagemaker", "sagemaker-runtime"])
def test_boto3_names_what_is_wrong(aws, client, service):
    one = client(service, aws_secret_access_key="wrong")
    with pytest.raises(ClientError) as refused:
        one.list_models() if service == "sagemaker" else one.invoke_endpoint(EndpointName="x", Body=b"")
    assert refused.value.response["Error"]["Code"] == "InvalidSignatureException"


# AWS's own published example: "Signature Version 4 signing process", GET of ListUsers, 30 August 2015.

EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
EXAMPLE_NOW = 1440938160.0  # 20150830T123600Z


def example():
    incoming = Incoming()
    incoming.method, incoming.path = "GET", "/?Action=ListUsers&Version=2010-05-08"
    names = "content-type;host;x-amz-date"
    signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    scope = "AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request"
    incoming.headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": "iam.amazonaws.com",
        "x-amz-date": "20150830T123600Z",
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}",
    }
    return incoming


def test_awss_published_example_is_good():
    keys = {"AKIDEXAMPLE": Secrets(EXAMPLE_SECRET)}
    assert verified(example(), keys, EXAMPLE_NOW) == ("AKIDEXAMPLE", "us-east-1", "iam")


@pytest.mark.parametrize(("apart", "word"), [(301, "expired"), (-301, "not yet current")])
def test_a_clock_that_is_five_minutes_off_is_refused(apart, word):
    with pytest.raises(AwsError, match=word) as refused:
        verified(example(), {"AKIDEXAMPLE": Secrets(EXAMPLE_SECRET)}, EXAMPLE_NOW + apart)
    assert (refused.value.code, refused.value.status) == ("InvalidSignatureException", 403)
    assert verified(example(), {"AKIDEXAMPLE": Secrets(EXAMPLE_SECRET)}, EXAMPLE_NOW + apart * 0.9)


def test_a_date_of_another_day_than_the_scopes_is_refused():
    incoming = example()
    incoming.headers["x-amz-date"] = "20150831T000000Z"
    with pytest.raises(AwsError, match="Credential scope"):
        verified(incoming, {"AKIDEXAMPLE": Secrets(EXAMPLE_SECRET)}, EXAMPLE_NOW)


def test_secrets_are_not_shown():
    options = AwsOptions(secret_key="hide-me", session_token="me-too")
    assert not {"hide-me", "me-too"} & {word.strip("',()") for word in repr(options).replace("=", " ").split()}
    assert "hide-me" not in repr(Secrets("hide-me"))
