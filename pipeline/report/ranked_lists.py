"""Ranked lists with their pictures.

N: images in the catalogue, H x W: size of an image.
"""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.contents import RankedImage, RankedList


def illustrate(table: pd.DataFrame, *, catalogue: pd.DataFrame, images: np.ndarray) -> tuple[RankedList, ...]:
    """Adds the pictures, identities and cameras to what `rank_queries` found.

    Only the rows that are shown are read of `images`, so a memory map will do.

    Args:
        table: As `pipeline.evaluation.ranked_lists.rank_queries` returns it, or read back from its CSV file.
        catalogue: One row an image in the order of `images`, columns `pid`, `camid`, `split`.
        images: (N, H, W, 3) uint8.
    """
    rows = {split: np.flatnonzero((catalogue["split"] == split).to_numpy()) for split in ("query", "gallery")}
    pids, camids = list(catalogue["pid"]), list(catalogue["camid"])
    lists = []
    for _, places in table.groupby(["group", "query"], sort=False):
        first = places.iloc[0]
        at = int(rows["query"][int(first["query"])])
        entries = []
        for place in places.sort_values("rank").to_dict(orient="records"):
            row = int(rows["gallery"][int(place["gallery"])])
            entries.append(
                RankedImage(
                    image=np.array(images[row]),
                    verdict=place["verdict"],
                    pid=_known(pids[row]),
                    camid=_known(camids[row]),
                    similarity=float(place["similarity"]),
                )
            )
        lists.append(
            RankedList(
                query_image=np.array(images[at]),
                entries=tuple(entries),
                query_pid=_known(pids[at]),
                query_camid=_known(camids[at]),
                average_precision=float(first["average_precision"]),
                group=str(first["group"]),
            )
        )
    return tuple(lists)


def _known(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)
