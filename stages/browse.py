"""A page in the browser to look at the clusters of the last run and correct them. No stage of dvc.yaml."""

import socket
from typing import Annotated

import typer
import uvicorn

import stages
from pipeline.browse.actions import Actions
from pipeline.browse.opening import opened_run
from pipeline.browse.server import application
from pipeline.browse.session import Session
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.model.saved import MODEL_FILE
from pipeline.preparation.links import CORRECTIONS
from pipeline.preparation.placing import reader_options
from pipeline.preparation.readers import dataset_folder

HOST = "127.0.0.1"


def browse(port: Annotated[int, typer.Option(help="Where the page is served, on this machine alone.")] = 8765) -> None:
    """Serves the clusters of the last run, until Ctrl-C: look, merge, split, undo, and search by dropping a picture.

    Reads params.yaml (dataset, own), data/prepared/, data/model/ and reports/clusters.csv. What is decided is written
    into corrections.csv in the data set's folder, which the next `dvc repro` keeps. Embeddings are kept in
    .scratch/browse/.
    """
    settings = stages.settings()
    folder = dataset_folder(settings.dataset, paths.raw(), options=reader_options(settings))
    run = opened_run(
        prepared=paths.PREPARED,
        model=paths.MODEL / MODEL_FILE,
        clusters=paths.REPORTS / "clusters.csv",
        cache=paths.scratch() / "browse",
    )
    session = Session(run, Actions(folder / CORRECTIONS, paths.scratch() / "corrections.lock"))
    session.overview()  # what is wrong with the corrections is told before the page opens
    server = uvicorn.Server(uvicorn.Config(application(session), log_level="warning"))
    taken = _socket(port)
    print(f"open http://{HOST}:{port}/ (Ctrl-C ends it)", flush=True)
    print(f"decisions go to {folder / CORRECTIONS}", flush=True)
    server.run(sockets=[taken])


def _socket(port: int) -> socket.socket:
    """Where the page is served; raises UserError if it cannot be."""
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no port has this number"
        raise UserError(f"{HOST}:{port} cannot be had ({reason}): name another port with --port") from error


if __name__ == "__main__":
    stages.run(browse)
