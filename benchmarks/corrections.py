"""What corrections on the page of `stages.browse` are worth: the clusters' adjusted Rand index over their number.

    python -m benchmarks.corrections

Reads the last run (data/prepared/, data/model/, reports/clusters.csv); its training images need identities, which
stand for what a user sees. A correction is one action of the page, by its own code. The user draws one of the mistakes
that the page shows, each as likely as another: a cluster that holds several individuals, of which they split one off,
but for the most frequent, by marking its images; a cluster without one of those, which they merge with the nearest of
the clusters that are mostly of its individual; or an image in no cluster that is of the individual of the cluster shown
beside it, which they join, one at a time. After each number of corrections the same embeddings are clustered again with
the links of corrections.csv, as the next training would in its last epoch. Prints a table and writes it, with a figure,
into reports/corrections/.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.browse.actions import Actions
from pipeline.browse.clusters import nearest_clusters
from pipeline.browse.opening import opened_run
from pipeline.browse.run import Run
from pipeline.browse.session import Session
from pipeline.clustering.quality import cluster_quality
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.datasets.links import links_of
from pipeline.datasets.packed_images import PackedImages
from pipeline.methods import restored_method
from pipeline.model.saved import MODEL_FILE
from pipeline.preparation.links import read_corrections
from pipeline.report.figures.drawing import BLUE, ORANGE, canvas, png_bytes

Scores = tuple[float, float]  # adjusted Rand index of the page's clusters, and of those that are clustered again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corrections", type=int, nargs="+", default=[0, 25, 50, 100, 150, 200])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--output", type=Path, default=paths.REPORTS / "corrections")
    options = parser.parse_args()
    run = opened_run(
        prepared=paths.PREPARED,
        model=paths.MODEL / MODEL_FILE,
        clusters=paths.REPORTS / "clusters.csv",
        cache=paths.scratch() / "browse",
    )
    pids = PackedImages(paths.PREPARED).split("train").pids
    if pids is None:
        raise UserError("the training images have no identities: nobody knows what is right")
    numbers = sorted(set(options.corrections))
    curves = [curve(run, pids, numbers, np.random.default_rng(draw)) for draw in range(options.draws)]
    table = table_of(numbers, curves)
    print(table.to_string(index=False))
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "corrections.csv", table.to_csv(index=False))
    (options.output / "corrections.png").write_bytes(figure(table))


def curve(run: Run, pids: NDArray[np.int64], numbers: Sequence[int], rng: np.random.Generator) -> list[Scores]:
    """The scores after so many corrections of one draw; fewer where nothing is left to correct."""
    found: list[Scores] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "corrections.csv"
        session = Session(run, Actions(file, Path(folder) / "lock"))
        done = 0
        for number in numbers:
            while done < number and correct(session, pids, rng):
                done += 1
            if done < number:
                break
            found.append((score(session.labels(), pids), score(clustered_again(run, Path(folder)), pids)))
    return found


def correct(session: Session, pids: NDArray[np.int64], rng: np.random.Generator) -> bool:
    """Makes one correction that the page takes; False where there is none."""
    clusters = {cluster.number: cluster for cluster in session.clusters()}
    most = {number: int(np.bincount(pids[cluster.rows]).argmax()) for number, cluster in clusters.items()}
    rows, nearest, _ = nearest_clusters(session.labels(), session.run.embeddings)
    joins = [(row, number) for row, number in zip(rows.tolist(), nearest.tolist(), strict=True) if number >= 0]
    right = [(row, number) for row, number in joins if pids[row] == most[number]]
    mistakes: list[int | tuple[int, int]] = [*clusters, *right]
    for place in rng.permutation(len(mistakes)).tolist():
        mistake = mistakes[place]
        try:
            if isinstance(mistake, tuple):
                session.join([mistake])
                return True
            cluster, individual = clusters[mistake], most[mistake]
            others = np.unique(pids[cluster.rows][pids[cluster.rows] != individual])
            if len(others):
                session.split(mistake, cluster.rows[pids[cluster.rows] == rng.choice(others)].tolist())
                return True
            if same := [number for number in clusters if number != mistake and most[number] == individual]:
                means = {number: session.run.embeddings[clusters[number].rows].mean(axis=0) for number in same}
                own = session.run.embeddings[cluster.rows].mean(axis=0)
                session.merge([mistake, max(same, key=lambda number: float(own @ means[number]))])
                return True
        except UserError:  # against an earlier one
            continue
    return False


def clustered_again(run: Run, folder: Path) -> NDArray[np.int64]:
    """(N,) the clusters of the last epoch, with the links that lie in a folder."""
    settings = run.embedder.settings
    links, contradictions = links_of(run.paths, read_corrections(folder, run.paths))
    assert not contradictions
    method = restored_method(settings, run.camids, links)
    return method.cluster(run.embeddings, epoch=settings["epochs"] - 1).labels


def score(labels: NDArray[np.int64], pids: NDArray[np.int64]) -> float:
    return cluster_quality(labels, pids)["ari"]


def table_of(numbers: Sequence[int], curves: Sequence[Sequence[Scores]]) -> pd.DataFrame:
    """One row per number of corrections that some draw reached: means and standard deviations over the draws."""
    rows = []
    for place, number in enumerate(numbers):
        reached = [scores[place] for scores in curves if len(scores) > place]
        if not reached:
            break
        row: dict[str, float] = {"corrections": number, "draws": len(reached)}
        for name, values in zip(("page", "again"), zip(*reached, strict=True), strict=True):
            row[f"{name}_ari"] = round(statistics.mean(values), 3)
            row[f"{name}_std"] = round(statistics.stdev(values), 3) if len(values) > 1 else 0.0
        rows.append(row)
    return pd.DataFrame(rows)


def figure(table: pd.DataFrame) -> bytes:
    """Both indices over the corrections, with their standard deviations, as PNG."""
    with canvas() as (drawn, axes):
        for name, title, colour in (("page", "on the page", BLUE), ("again", "clustered again", ORANGE)):
            mean, deviation = table[f"{name}_ari"], table[f"{name}_std"]
            axes[0].plot(table["corrections"], mean, color=colour, marker="o", label=title)
            axes[0].fill_between(table["corrections"], mean - deviation, mean + deviation, color=colour, alpha=0.2)
        axes[0].set(title="Clusters against true identities", xlabel="corrections", ylabel="adjusted Rand index")
        axes[0].legend()
        return png_bytes(drawn)


if __name__ == "__main__":
    main()
