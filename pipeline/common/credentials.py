"""Passwords never reach a line, a log or a record: text is masked before it is shown."""

import os
import re
from urllib.parse import quote, unquote

# Variables whose value is an address, or is a secret itself.
ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY")
MASK = "***"
_SHORTEST = 4  # a shorter secret would mask parts of ordinary words
_PASSWORD = re.compile(r"(://[^\s/:@'\"]*):[^\s'\"]*@")  # ://user:password@
_TOKEN = re.compile(r"(https?://)[^\s/:@'\"]+@")  # https://token@
_SETTING = re.compile(r"((?:password|passwd|pwd|token|secret)=)([^&\s'\"]+)", re.IGNORECASE)


def masked(text: str) -> str:
    """`text` with *** in place of every password: in addresses, in their settings, and those of the environment."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _TOKEN.sub(rf"\1{MASK}@", _PASSWORD.sub(rf"\1:{MASK}@", text))
    return _SETTING.sub(rf"\1{MASK}", text)


def _secrets() -> set[str]:
    """The secrets of the environment, as they are written there and as they are meant."""
    found = {os.environ.get(name, "") for name in SECRETS}
    for name in ADDRESSES:
        address = os.environ.get(name, "")
        found |= set(re.findall(r"^[^/:@]*:(.+)@", address.rpartition("://")[2]))
        found |= {value for _, value in _SETTING.findall(address)}
    found |= {unquote(secret) for secret in found} | {quote(secret, safe="") for secret in found}
    return {secret for secret in found if len(secret) >= _SHORTEST}
