"""Downloading a published file with pooch: tried again after errors that may pass, verified before it gets its name.

A proxy and a CA bundle come from the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,
SSL_CERT_FILE).
"""

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests
from requests import exceptions
from tqdm import tqdm

from pipeline.common.errors import UserError
from pipeline.common.files import sha256

RETRIES = 4  # pooch waits 1, 2, 3, ... seconds before them
TIMEOUT = 30.0  # seconds without an answer or without a byte
_CHUNK = 1 << 16
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
_LASTING = (
    exceptions.SSLError,
    exceptions.TooManyRedirects,
    exceptions.InvalidURL,
    exceptions.InvalidSchema,
    exceptions.MissingSchema,
)


@dataclass(frozen=True)
class PublishedFile:
    """Where a file is published, its name, and the start of its SHA-256."""

    url: str
    name: str
    digest: str


class DownloadError(Exception):
    """Why a file cannot be had; to try again would not help."""


def download(
    file: PublishedFile, target: Path, *, url: str, what: str, progress: bool = True, timeout: float = TIMEOUT
) -> None:
    """Makes `target` the published file, whose digest is verified before it gets this name.

    Args:
        file: what to fetch.
        target: is not there yet.
        url: where to fetch it: where it was published, or a mirror.
        what: the file holds, for messages.
        progress: show a bar on stderr.
        timeout: seconds without an answer, or without a byte, after which an attempt has failed.

    Raises:
        UserError: the file cannot be had.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".partial", dir=target.parent) as folder:
            _fetched(url, Path(folder) / target.name, file.digest, progress, timeout).replace(target)
    except (DownloadError, exceptions.RequestException) as error:
        raise UserError(
            f"cannot fetch {what}, {_reason(error, url, timeout)}: put {file.url} at {target} "
            f"(its SHA-256 starts with {file.digest})"
        ) from error
    except OSError as error:  # those of the network have been dealt with above
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error


def answers(url: str, *, timeout: float = 5.0) -> bool:
    """Whether a file is to be had at a URL now: its server begins to send it within `timeout` seconds."""
    try:
        with requests.get(url, stream=True, timeout=timeout, verify=ca_bundle()) as answer:
            return answer.ok
    except exceptions.RequestException:
        return False


def checked_mirror(base_url: str) -> str:
    """The base URL of a mirror, without a slash at its end.

    Raises:
        UserError: it is none.
    """
    if urlsplit(base_url).scheme not in ("http", "https"):
        given = base_url.rpartition("@")[2]
        raise UserError(f"the base URL of the weights must start with http:// or https://, got {given}")
    return base_url.rstrip("/")


def check_digest(path: Path, digest: str) -> None:
    """Raises a UserError unless the SHA-256 of the file starts with `digest`."""
    if not (found := sha256(path)).startswith(digest):
        raise UserError(
            f"{path} has the SHA-256 {found}, which should start with {digest}: remove it, or put the right file there"
        )


def ca_bundle() -> str | bool:
    """The CA bundle that the environment names, True if it names none; requests alone does not know SSL_CERT_FILE."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if bundle := os.environ.get(name):
            if not Path(bundle).exists():
                raise UserError(f"{name} names the CA bundle {bundle}, which does not exist")
            return bundle
    return True


def host_of(url: str) -> str:
    """Host and port of a URL, without the user's name and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _fetched(url: str, target: Path, digest: str, progress: bool, timeout: float) -> Path:
    """`target`, once pooch has put the file there."""
    # "identity": lengths are then those of the file itself.
    options = {"timeout": timeout, "verify": ca_bundle(), "headers": {"Accept-Encoding": "identity"}}

    def verified(url: str, temporary: str, _: Any) -> None:
        Path(temporary).unlink()  # pooch's is readable for its owner alone
        # pooch sets the total, and takes a bar without one for none
        bar = tqdm(desc=target.name, total=1, unit="B", unit_scale=True) if progress else False
        try:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, **options)(url, temporary, None)
        except exceptions.RequestException as error:
            if _is_lasting(error):
                raise DownloadError from error
            raise
        # Here and not by pooch, which compares whole digests: of many files only the start is known.
        if not (found := sha256(Path(temporary))).startswith(digest):
            raise DownloadError(f"what {host_of(url)} sends has the SHA-256 {found}")

    pooch.get_logger().setLevel(logging.WARNING)
    files = pooch.create(
        target.parent, base_url="", registry={target.name: None}, urls={target.name: url}, retry_if_failed=RETRIES
    )
    return Path(files.fetch(target.name, downloader=verified))


def _is_lasting(error: exceptions.RequestException) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response.status_code not in _RETRIED_STATUS
    return isinstance(error, _LASTING)


def _reason(error: Exception, url: str, timeout: float) -> str:
    host = host_of(url)
    if isinstance(error, DownloadError):
        if error.args:
            return str(error)
        assert isinstance(error.__cause__, Exception)
        error = error.__cause__
    if isinstance(error, requests.HTTPError):
        return f"{host_of(error.response.url)} answers HTTP {error.response.status_code}"
    if isinstance(error, exceptions.SSLError):
        return f"the certificate of {host} is not accepted (CA bundle: REQUESTS_CA_BUNDLE)"
    if isinstance(error, exceptions.ProxyError):
        return "the proxy that the environment names does not answer"
    if isinstance(error, exceptions.TooManyRedirects):
        return f"{host} redirects in a circle"
    if isinstance(error, _LASTING):
        return f"what {host} names is no web address, or redirects to none"
    if isinstance(error, exceptions.Timeout):
        return f"{host} does not answer within {timeout:g} s"
    return f"the connection to {host} fails"
