"""Speed of the evaluation against the usual per-query loop, and its memory at MSMT17's size.

    python -m benchmarks.evaluation

Both start from the same (3,368, 15,913) matrix of distances, Market-1501's size: the product of the features is the
same for both and is left out. The usual loop sorts every row with numpy.argsort and calls scikit-learn's
average_precision_score. Exits with 1 where a number differs by more than 1e-6, the ratio is below the target, or the
evaluation of 11,659 x 82,161, as it is or re-ranked, takes 1 GB or more beyond the features.
"""

import resource
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from pipeline.evaluation import evaluate, evaluate_distances

MARKET, MARKET_IDENTITIES, MARKET_CAMERAS = (3_368, 15_913), 750, 6
MSMT17, MSMT17_IDENTITIES, MSMT17_CAMERAS = (11_659, 82_161), 3_060, 15
WIDTH = 64
TARGET_RATIO, TARGET_BYTES, TOLERANCE = 40.0, 1e9, 1e-6

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def synthetic_sets(
    sizes: tuple[int, int], identities: int, cameras: int, seed: int
) -> tuple[Floats, Integers, Integers, Floats, Integers, Integers]:
    """Features of queries and gallery, clustered by identity and pulled together by camera, with their labels."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities + 1, WIDTH))
    pull = rng.normal(size=(cameras, WIDTH)) * 0.5
    sets: list[NDArray] = []
    # A sixth of the gallery are distractors, identity 0, as in Market-1501: each looks like nobody else.
    for num, share in zip(sizes, (0.0, 1 / 6), strict=True):
        ids = np.where(rng.random(num) < share, 0, rng.integers(1, identities + 1, num))
        cams = rng.integers(0, cameras, num)
        rows = centres[ids] * (ids > 0)[:, None] + pull[cams] + rng.normal(size=(num, WIDTH))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        sets += [rows.astype(np.float32), ids, cams]
    return sets[0], sets[1], sets[2], sets[3], sets[4], sets[5]


def usual_loop(
    distance: Floats, query_ids: Integers, query_cams: Integers, gallery_ids: Integers, gallery_cams: Integers
) -> tuple[NDArray[np.float64], Integers]:
    """Average precision (NaN: no match) and rank of the first match (0: none), one query after another."""
    precision = np.full(len(distance), np.nan)
    first = np.zeros(len(distance), dtype=np.int64)
    for query in range(len(distance)):
        order = np.argsort(distance[query], kind="stable")
        same = gallery_ids[order] == query_ids[query]
        kept = ~(same & (gallery_cams[order] == query_cams[query]))
        matches = same[kept]
        if not matches.any():
            continue
        precision[query] = average_precision_score(matches, -distance[query][order][kept])
        first[query] = 1 + np.flatnonzero(matches)[0]
    return precision, first


def resident_bytes() -> tuple[int, int]:
    """What this process holds in memory now, and the most that it held so far (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_memory(seed: int, *, rerank: bool) -> bool:
    """Evaluates at MSMT17's size, prints memory and time, says whether the target is met."""
    sets = synthetic_sets(MSMT17, MSMT17_IDENTITIES, MSMT17_CAMERAS, seed)
    evaluate(*(array[:100] for array in sets), rerank=rerank)  # compiles
    before, start, worked = resident_bytes()[0], time.perf_counter(), time.process_time()
    evaluate(*sets, rerank=rerank)
    # An upper bound: the peak may also lie before, when the features were drawn.
    seconds, extra = time.perf_counter() - start, resident_bytes()[1] - before
    worked = time.process_time() - worked
    how = "re-ranked" if rerank else "as it is"
    print(f"{MSMT17[0]:,} x {MSMT17[1]:,}, {how}, product of {WIDTH}-d features included: {seconds:.1f} s ", end="")
    print(f"({worked:.1f} s of the processor), ", end="")
    print(f"at most {extra / 2**20:.0f} MiB beyond the features (target: under {TARGET_BYTES / 1e9:.0f} GB)")
    return extra < TARGET_BYTES


def main(
    repeats: Annotated[int, typer.Option(help="timed runs of the evaluation; the median counts")] = 5,
    seed: Annotated[int, typer.Option(help="of the synthetic features")] = 0,
) -> None:
    """Times both on the same distances, compares every query, prints a table."""
    # First: the peak of what follows would hide it.
    small = [measure_memory(seed, rerank=False), measure_memory(seed, rerank=True)]
    print()
    query, query_ids, query_cams, gallery, gallery_ids, gallery_cams = synthetic_sets(
        MARKET, MARKET_IDENTITIES, MARKET_CAMERAS, seed
    )
    distance = 1 - query @ gallery.T
    labels = (query_ids, query_cams, gallery_ids, gallery_cams)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        scores = evaluate_distances(distance, *labels)
        times.append(time.perf_counter() - start)
    ours = float(np.median(times))
    start = time.perf_counter()
    precision, first = usual_loop(distance, *labels)
    usual = time.perf_counter() - start

    np.testing.assert_allclose(scores.average_precision, precision, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(scores.first_rank, first)
    assert abs(scores.mean_ap - np.nanmean(precision)) < TOLERANCE
    ratio = usual / ours
    print(f"{MARKET[0]:,} x {MARKET[1]:,}, mAP {scores.mean_ap:.4f}, R1 {scores.cmc[1]:.4f}, without the product")
    print(f"{'':24}{'seconds':>10}{'us a query':>14}")
    for name, seconds in (("usual per-query loop", usual), ("evaluate_distances", ours)):
        print(f"{name:24}{seconds:10.3f}{seconds / MARKET[0] * 1e6:14.1f}")
    print(f"ratio {ratio:.0f} (target {TARGET_RATIO:.0f}); every query equal to {TOLERANCE:g}")
    raise typer.Exit(int(ratio < TARGET_RATIO or not all(small)))


if __name__ == "__main__":
    typer.run(main)
