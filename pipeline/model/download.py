"""Downloading a file: resumed when interrupted, verified before it gets its name.

A proxy and a CA bundle come from the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,
SSL_CERT_FILE).
"""

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from pipeline.common.errors import UserError

ATTEMPTS = 6  # in a row without getting further than before
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
FIRST_WAIT = 1.0  # seconds, doubled after each attempt
TIMEOUT = 30.0  # seconds without an answer or without a byte
CHUNK = 1 << 16  # bytes; what a cut connection loses at most

T = TypeVar("T")


@dataclass(frozen=True)
class PublishedWeights:
    """A published file: where it is, its name, and the start of its SHA-256."""

    url: str
    name: str
    digest: str


class PassingError(Exception):
    """One attempt failed for a reason that may pass."""


class LastingError(Exception):
    """A reason that does not pass by waiting."""


def download(
    backbone: str,
    weights: PublishedWeights,
    target: Path,
    *,
    at: str,
    progress: bool = True,
    timeout: float = TIMEOUT,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Makes `target` the published file, whose digest is verified before the file gets this name.

    Args:
        backbone: whose weights they are, for messages.
        weights: what to fetch.
        target: a file that is not there yet.
        at: where a person finds the file.
        progress, timeout, wait: see `fetch_weights`.

    Raises:
        UserError: if the file cannot be had.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(weights.url, part, digest=weights.digest, progress=progress, timeout=timeout, wait=wait)
        part.replace(target)
    except (PassingError, LastingError) as error:
        raise UserError(
            f"cannot fetch the weights of {backbone}, {error}: put {at} at {target} "
            f"(its SHA-256 starts with {weights.digest})"
        ) from error
    except OSError as error:  # those of the network have been dealt with above
        raise UserError(f"cannot write {part}: {error.strerror or error}") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stop_if_no_url(base_url: str) -> str:
    """The base URL of a mirror, without a slash at its end; a UserError if it is none."""
    if urlsplit(base_url).scheme not in ("http", "https"):
        raise UserError(f"the base URL of the weights must start with http:// or https://, got {base_url}")
    return base_url.rstrip("/")


def stop_if_other(path: Path, digest: str) -> None:
    """Raises a UserError unless the SHA-256 of the file starts with `digest`."""
    if not (found := sha256(path)).startswith(digest):
        raise UserError(
            f"{path} has the SHA-256 {found}, which should start with {digest}: remove it, or put the right file there"
        )


def _download(
    url: str, part: Path, *, digest: str, progress: bool, timeout: float, wait: Callable[[float], None]
) -> None:
    """Makes `part` the file of this digest."""
    if _size(part) and sha256(part).startswith(digest):
        return  # complete, but interrupted before it got its name
    # Twice: the first time, what was there already may have been the start of another file.
    for _ in range(2):
        _complete(url, part, progress=progress, timeout=timeout, wait=wait)
        found = sha256(part)
        if found.startswith(digest):
            return
        part.unlink()
    raise LastingError(f"what {url} sends has the SHA-256 {found}")


def _complete(url: str, part: Path, *, progress: bool, timeout: float, wait: Callable[[float], None]) -> None:
    """Makes `part` as long as the file of the server, by as many attempts as bring it further."""
    retried(partial(_attempt, url, part, progress=progress, timeout=timeout), wait=wait, reached=partial(_size, part))


def retried(attempt: Callable[[], T], *, wait: Callable[[float], None], reached: Callable[[], int] = lambda: 0) -> T:
    """What `attempt` returns, as soon as it does not fail for a reason that may pass.

    Args:
        attempt: raises `PassingError` for such a reason.
        wait: called with the seconds to wait before the next attempt.
        reached: how far the attempts have come; those that come further do not count.

    Raises:
        PassingError: `ATTEMPTS` in a row have come no further.
    """
    furthest, failures = reached(), 0
    while True:
        try:
            return attempt()
        except PassingError:
            here = reached()
            failures = 1 if here > furthest else failures + 1
            furthest = max(here, furthest)
            if failures == ATTEMPTS:
                raise
        wait(FIRST_WAIT * 2 ** (failures - 1))


def _attempt(url: str, part: Path, *, progress: bool, timeout: float) -> None:
    """One request, appended to `part` if the server can go on from its end."""
    host = urlsplit(url).netloc
    start = _size(part)
    # "identity": lengths and ranges are then those of the file itself.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout, verify=authorities()) as response:
            total = _judge(response, part, start)
            _receive(response, part, total=total, progress=progress)
    except requests.exceptions.SSLError as error:
        raise LastingError(f"the certificate of {host} is not accepted (CA bundle: REQUESTS_CA_BUNDLE)") from error
    except requests.exceptions.ProxyError as error:
        raise PassingError("the proxy that the environment names does not answer") from error
    except requests.exceptions.TooManyRedirects as error:
        raise LastingError(f"{host} redirects in a circle") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise LastingError(f"{url} is no web address, or redirects to none") from error
    except requests.exceptions.Timeout as error:
        raise PassingError(f"{host} does not answer within {timeout:g} s") from error
    except requests.exceptions.RequestException as error:
        raise PassingError(f"the connection to {host} fails") from error
    if total is not None and _size(part) != total:
        raise PassingError(f"{host} sends {_size(part)} of {total} bytes")


def _judge(response: requests.Response, part: Path, start: int) -> int | None:
    """The length of the whole file, if the server says it; empties `part` if it has to be begun again."""
    if response.status_code == requests.codes.partial_content:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match and int(match[1]) == start:
            return None if match[2] == "*" else int(match[2])
        part.unlink(missing_ok=True)
        raise PassingError("the server sends another range than was asked for")
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        part.unlink(missing_ok=True)
        raise PassingError("the server has a shorter file")
    if response.status_code != requests.codes.ok:
        message = f"{urlsplit(response.url).netloc} answers HTTP {response.status_code}"
        raise PassingError(message) if response.status_code in RETRIED_STATUS else LastingError(message)
    part.unlink(missing_ok=True)
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and "Content-Encoding" not in response.headers else None


def _receive(response: requests.Response, part: Path, *, total: int | None, progress: bool) -> None:
    with (
        part.open("ab") as file,
        tqdm(desc=part.stem, total=total, initial=file.tell(), unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def authorities() -> str | bool:
    """The CA bundle of the environment, True if it names none; requests alone does not know SSL_CERT_FILE."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if bundle := os.environ.get(name):
            if not Path(bundle).exists():
                raise UserError(f"{name} names the CA bundle {bundle}, which does not exist")
            return bundle
    return True


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
