"""MLflow's pages: says at which address the runs are compared, and serves them. No stage of dvc.yaml."""

import os
import sys
from typing import Annotated

import typer

import stages
from pipeline.common import paths


def ui(port: Annotated[int, typer.Option(help="Where MLflow's pages are served.")] = 5000) -> None:
    """Serves the runs of this checkout, until Ctrl-C; where MLFLOW_TRACKING_URI names a server, its pages are named."""
    from pipeline.tracking.address import tracking_address
    from pipeline.tracking.server import BACKEND, runs_page

    address = tracking_address(paths.checkout())
    local = not address.uri.startswith("http")
    server = f"http://127.0.0.1:{port}" if local else address.uri
    print(f"compare the runs at {runs_page(paths.checkout(), server)}", flush=True)
    if local:
        command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--port", str(port)]
        os.execve(sys.executable, command, {**os.environ, BACKEND: address.uri})


if __name__ == "__main__":
    stages.run(ui)
