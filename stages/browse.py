"""A page in the browser to look at clusters and correct them. No stage of dvc.yaml."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import stages
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.common.page_address import HOST, PORT, page_address

if TYPE_CHECKING:
    from pipeline.browse.run import Run


def browse(
    discovered: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="What stages.discover wrote; default: the last run.")
    ] = None,
    port: Annotated[int, typer.Option(help="Where the page is served, on this machine alone.")] = PORT,
) -> None:
    """Serves clusters until Ctrl-C: look, merge, split, mark outliers, undo, and search by dropping a picture.

    Of the last run it reads params.yaml (dataset, own), data/prepared/, data/model/ and reports/clusters.csv; of a
    discovery the folder that it wrote, its images and its network. What is decided is written into corrections.csv in
    the folder of the images, which the next `dvc repro` or `stages.discover` keeps. Embeddings are kept in .scratch/.
    """
    import uvicorn

    from pipeline.browse.actions import Actions
    from pipeline.browse.server import application
    from pipeline.browse.session import Session
    from pipeline.preparation.links import CORRECTIONS

    run, folder = _run() if discovered is None else _discovery(discovered)
    session = Session(run, Actions(folder / CORRECTIONS, paths.scratch() / "corrections.lock"))
    session.overview()  # what is wrong with the corrections is told before the page opens
    server = uvicorn.Server(uvicorn.Config(application(session), log_level="warning"))
    taken = _socket(port)
    print(f"open {page_address(port)} (Ctrl-C ends it)", flush=True)
    print(f"decisions go to {folder / CORRECTIONS}", flush=True)
    server.run(sockets=[taken])


def _run() -> tuple["Run", Path]:
    """The last run, and the folder of its images."""
    from pipeline.browse.opening import opened_run
    from pipeline.preparation.union import folder_of

    settings = stages.settings()
    clusters, cache = paths.REPORTS / "clusters.csv", paths.scratch() / "browse"
    run = opened_run(prepared=paths.PREPARED, model=paths.TRAINED, clusters=clusters, cache=cache)
    return run, folder_of(settings)


def _discovery(folder: Path) -> tuple["Run", Path]:
    from pipeline.browse.opening import opened_discovery

    places = {"last": paths.TRAINED, "downloads": paths.raw() / "weights"}
    return opened_discovery(folder, **places, cache=paths.scratch() / "search")


def _socket(port: int) -> socket.socket:
    """Where the page is served; raises UserError if it cannot be."""
    reason = "no port has this number"
    if 0 <= port < 2**16:  # of another number, `create_server` would leave a socket open
        try:
            taken = socket.create_server((HOST, port))
            # Connections inherit it. Without, each answer waits 40 ms for the receipt of its head before its body goes.
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return taken
        except OSError as error:
            reason = str(error.strerror)
    raise UserError(f"{HOST}:{port} cannot be had ({reason}): name another port with --port")


if __name__ == "__main__":
    stages.run(browse)
