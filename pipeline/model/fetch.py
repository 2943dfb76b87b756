"""Fetching published ImageNet weights: once, resumed when interrupted, verified before the file gets its name.

Which files: torchvision's IMAGENET1K_V1 (V2 gives near-identical images low cosine similarities and spoils the
clustering: pytorch/vision#8382) and the IBN-Net release. The hexadecimal part of a file's name is the start of its
SHA-256.

A proxy and a CA bundle come from the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,
SSL_CERT_FILE).
"""

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
import torchvision
from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.model.backbones import BACKBONES

IBN_NET = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0"
IBN_FILES = {
    "resnet_ibn50a": "resnet50_ibn_a-d9d0bb7b.pth",
    "resnet_ibn101a": "resnet101_ibn_a-59ea0ac6.pth",
}
ATTEMPTS = 6  # in a row without getting further than before
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
FIRST_WAIT = 1.0  # seconds, doubled after each attempt
TIMEOUT = 30.0  # seconds without an answer or without a byte
CHUNK = 1 << 16  # bytes; what a cut connection loses at most


@dataclass(frozen=True)
class PublishedWeights:
    """A published file: where it is, its name, and the start of its SHA-256."""

    url: str
    name: str
    digest: str


class _PassingError(Exception):
    """One attempt failed for a reason that may pass."""


class _LastingError(Exception):
    """A reason that does not pass by waiting."""


def published_weights(backbone: str) -> PublishedWeights:
    """The ImageNet weights of a backbone.

    Raises:
        UserError: for an unknown backbone, or one of ours that nobody published weights for.
    """
    if backbone not in BACKBONES:
        raise UserError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
    if backbone in IBN_FILES:
        url = f"{IBN_NET}/{IBN_FILES[backbone]}"
    elif backbone in torchvision.models.list_models():
        url = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"].url
    else:
        raise UserError(f"nobody published ImageNet weights of {backbone}: use `pretrained: none`, or a file")
    name = url.rsplit("/", 1)[1]
    match = re.fullmatch(r".+-([0-9a-f]{8,64})\.pth", name)
    assert match, f"no digest in the name of {url}"
    return PublishedWeights(url=url, name=name, digest=match[1])


def fetch_weights(
    backbone: str,
    folder: Path,
    *,
    base_url: str | None = None,
    progress: bool = True,
    timeout: float = TIMEOUT,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """The file of the ImageNet weights of a backbone, downloaded unless it is there already.

    What an interrupted download got stays beside the file under the name `.part`, and the next one goes on from
    there. The file gets its own name only when its digest is right.

    Args:
        backbone: a name of `BACKBONES`.
        folder: where the file is or shall be.
        base_url: folder of a mirror that holds the file under its own name; None = where it was published.
        progress: show a bar on stderr.
        timeout: seconds without an answer, or without a byte, after which an attempt has failed.
        wait: called with the seconds to wait before the next attempt.

    Returns:
        `folder` / name of the file.

    Raises:
        UserError: if the file cannot be had: which file to put where, with its digest. Or if a file of this name is
            there with another digest.
    """
    weights = published_weights(backbone)
    target = Path(folder) / weights.name
    if target.exists():
        _stop_if_other(target, weights.digest)
        return target
    url = weights.url if base_url is None else f"{base_url.rstrip('/')}/{weights.name}"
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"the base URL of the weights must start with http:// or https://, got {base_url}")
    part = target.with_name(f"{target.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(url, part, digest=weights.digest, progress=progress, timeout=timeout, wait=wait)
        part.replace(target)
    except (_PassingError, _LastingError) as error:
        raise UserError(
            f"cannot fetch the weights of {backbone}, {error}: put {weights.url} at {target} "
            f"(its SHA-256 starts with {weights.digest})"
        ) from error
    except OSError as error:  # those of the network have been dealt with above
        raise UserError(f"cannot write {part}: {error.strerror or error}") from error
    return target


def sha256(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stop_if_other(path: Path, digest: str) -> None:
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
    raise _LastingError(f"what {url} sends has the SHA-256 {found}")


def _complete(url: str, part: Path, *, progress: bool, timeout: float, wait: Callable[[float], None]) -> None:
    """Makes `part` as long as the file of the server, by as many attempts as bring it further."""
    furthest, failures = _size(part), 0
    while True:
        try:
            return _attempt(url, part, progress=progress, timeout=timeout)
        except _PassingError:
            size = _size(part)
            failures = 1 if size > furthest else failures + 1
            furthest = max(size, furthest)
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
        with requests.get(url, headers=headers, stream=True, timeout=timeout, verify=_authorities()) as response:
            total = _judge(response, part, start)
            _receive(response, part, total=total, progress=progress)
    except requests.exceptions.SSLError as error:
        raise _LastingError(f"the certificate of {host} is not accepted (CA bundle: REQUESTS_CA_BUNDLE)") from error
    except requests.exceptions.ProxyError as error:
        raise _PassingError("the proxy that the environment names does not answer") from error
    except requests.exceptions.TooManyRedirects as error:
        raise _LastingError(f"{host} redirects in a circle") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise _LastingError(f"{url} is no web address, or redirects to none") from error
    except requests.exceptions.Timeout as error:
        raise _PassingError(f"{host} does not answer within {timeout:g} s") from error
    except requests.exceptions.RequestException as error:
        raise _PassingError(f"the connection to {host} fails") from error
    if total is not None and _size(part) != total:
        raise _PassingError(f"{host} sends {_size(part)} of {total} bytes")


def _judge(response: requests.Response, part: Path, start: int) -> int | None:
    """The length of the whole file, if the server says it; empties `part` if it has to be begun again."""
    if response.status_code == requests.codes.partial_content:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match and int(match[1]) == start:
            return None if match[2] == "*" else int(match[2])
        part.unlink(missing_ok=True)
        raise _PassingError("the server sends another range than was asked for")
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        part.unlink(missing_ok=True)
        raise _PassingError("the server has a shorter file")
    if response.status_code != requests.codes.ok:
        message = f"{urlsplit(response.url).netloc} answers HTTP {response.status_code}"
        raise _PassingError(message) if response.status_code in RETRIED_STATUS else _LastingError(message)
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


def _authorities() -> str | bool:
    """The CA bundle of the environment; requests alone does not know SSL_CERT_FILE."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if bundle := os.environ.get(name):
            if not Path(bundle).exists():
                raise UserError(f"{name} names the CA bundle {bundle}, which does not exist")
            return bundle
    return True


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
