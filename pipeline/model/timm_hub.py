"""Fetching the published weights of timm's models: timm says where they are, its hub names their digest.

timm keeps its weights on the Hugging Face hub, one repository per model and tag. The digest is kept beside the file, so
that the file can be verified again without the hub. A file that the user put there has none beside it, and nothing to
be compared with.

A mirror of the hub is named by its base URL, or by HF_ENDPOINT.
"""

import os
import re
import ssl
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.model.download import (
    TIMEOUT,
    DownloadError,
    PublishedFile,
    ca_bundle,
    check_digest,
    checked_mirror,
    download,
    host_of,
)
from pipeline.model.timm_backbones import timm_config

NAMES = ("model.safetensors", "pytorch_model.bin")  # in a repository, the first that is there


def fetch_timm_weights(
    backbone: str, folder: Path, *, base_url: str | None = None, progress: bool = True, timeout: float = TIMEOUT
) -> Path:
    """The file of the published weights of `timm/<name>`, downloaded unless it is there already.

    A name without a tag stands for timm's default weights of that model.

    Args:
        backbone: `timm/<architecture>` or `timm/<architecture>.<tag>`.
        folder: where the file is or shall be, as `<architecture>.<tag>.safetensors`.
        base_url: of a mirror of the hub; None = HF_ENDPOINT, or the hub.
        progress, timeout: see `download`.

    Raises:
        UserError: nobody published weights, or the file cannot be had: which file to put where. Or the file is there
            with another digest than it was fetched with.
    """
    config = timm_config(backbone)
    stem = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    if not config.hf_hub_id:
        raise _not_on_the_hub(backbone, str(config.url or ""))
    repository, _, revision = config.hf_hub_id.partition("@")
    revision = revision or "main"
    names = (config.hf_hub_filename,) if config.hf_hub_filename else NAMES
    targets = {name: folder / f"{stem}{Path(name).suffix}" for name in names}
    for target in targets.values():
        if target.exists():
            if _digest_file(target).is_file():
                check_digest(target, _digest_file(target).read_text(encoding="utf-8").split(" ")[0])
            return target
    mirror = base_url or os.environ.get("HF_ENDPOINT")
    endpoint = checked_mirror(mirror) if mirror else None
    try:
        weights = _located(repository, names, revision, endpoint, timeout)
    except DownloadError as error:
        page = f"https://huggingface.co/{repository}"
        raise UserError(
            f"cannot fetch the weights of {backbone}, {error}: put {page}/resolve/{revision}/{names[0]} at "
            f"{targets[names[0]]} (its SHA-256 is on {page}/blob/{revision}/{names[0]})"
        ) from error
    target = targets[weights.name]
    what = f"the weights of {backbone}"
    download(weights, target, url=weights.url, what=what, progress=progress, timeout=timeout)
    write_text(_digest_file(target), f"{weights.digest}  {target.name}\n")  # as sha256sum writes it
    return target


def _digest_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _not_on_the_hub(backbone: str, url: str) -> UserError:
    if not url:
        return UserError(f"nobody published weights of {backbone}: use `pretrained: none`, or a file")
    return UserError(
        f"the weights of {backbone} are not on timm's hub, and no digest of them is known: fetch {url} yourself and "
        "name the file as `pretrained`"
    )


def _located(
    repository: str, names: tuple[str, ...], revision: str, endpoint: str | None, timeout: float
) -> PublishedFile:
    """The first of `names` that the repository has."""
    from huggingface_hub import hf_hub_url

    for name in names:
        url = hf_hub_url(repository, name, revision=revision, endpoint=endpoint)
        if (digest := _digest(url, endpoint, timeout)) is not None:
            return PublishedFile(url=url, name=name, digest=digest)
    raise DownloadError(f"{host_of(url)} has no file {' or '.join(names)} of {repository}")


def _digest(url: str, endpoint: str | None, timeout: float) -> str | None:
    """The SHA-256 that the hub names for a file; None if it has no such file."""
    import httpx2
    from huggingface_hub import constants, get_hf_file_metadata, set_client_factory
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
    from huggingface_hub.utils.logging import set_verbosity_error

    host = host_of(url)
    if constants.is_offline_mode():
        raise DownloadError("HF_HUB_OFFLINE is set")
    bundle = ca_bundle()
    verify = ssl.create_default_context(cafile=bundle) if isinstance(bundle, str) else True
    set_verbosity_error()  # what it retries is nothing to act on
    set_client_factory(partial(httpx2.Client, verify=verify, timeout=None))
    try:
        found = get_hf_file_metadata(url, token=False, timeout=timeout, endpoint=endpoint, retry_on_errors=True)
    except EntryNotFoundError:
        return None
    except HfHubHTTPError as error:
        raise DownloadError(f"{host} answers HTTP {error.response.status_code}") from error
    except httpx2.TimeoutException as error:
        raise DownloadError(f"{host} does not answer within {timeout:g} s") from error
    except httpx2.HTTPError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadError(f"the certificate of {host} is not accepted (CA bundle: REQUESTS_CA_BUNDLE)") from error
        raise DownloadError(f"the connection to {host} fails ({type(error).__name__})") from error
    if not re.fullmatch(r"[0-9a-f]{64}", found.etag or ""):
        raise DownloadError(f"{host} names no SHA-256 of {urlsplit(url).path}")
    assert found.etag is not None
    return found.etag
