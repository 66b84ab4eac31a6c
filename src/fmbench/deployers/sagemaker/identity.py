"""Who acts: the account, and the role that SageMaker is to take on."""

from __future__ import annotations

import re

from fmbench import ConfigError
from fmbench.deployers.sagemaker.control import Aws, AwsError

__all__ = ["account_and_role"]

_ROLE = re.compile(r"arn:[a-z-]+:iam::(\d{12}):role/.+")
_ASSUMED = re.compile(r"arn:[a-z-]+:sts::\d{12}:assumed-role/([^/]+)/.*")
WRONG = frozenset({
    "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException",
    "ExpiredToken", "ExpiredTokenException",
})  # fmt: skip
"""Refusals of the credentials themselves."""


async def account_and_role(aws: Aws, role: str | None) -> tuple[str | None, str]:
    """The account's number, where it can be known, and the role's ARN.

    Args:
        aws: The region's services.
        role: An ARN or a name; without one, the role that this machine itself acts as.

    Raises:
        ConfigError: the credentials are refused, or no role is given and this machine acts as none.
    """
    given = None if role is None else _ROLE.fullmatch(role)
    try:
        caller = await aws.call("sts", "get_caller_identity")
    except AwsError as error:
        if error.code in WRONG:
            raise ConfigError(f"AWS credentials: {error.told or error.code}") from error
        caller = {}  # it may not be asked here
    account = caller.get("Account") or (given and given[1])
    if role is not None and given is not None:
        return account, role
    assumed = _ASSUMED.fullmatch(caller.get("Arn", ""))
    name = role or (assumed and assumed[1])
    if not name:
        raise ConfigError("role: give the ARN of the role for SageMaker to act as, such as arn:aws:iam::123456789012:role/NAME")
    return account, str((await aws.call("iam", "get_role", RoleName=name))["Role"]["Arn"])
