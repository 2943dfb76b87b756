"""Numbers and sentences of the report, as the field writes them: percent with one decimal.

Everything here is text in plain Unicode; the template escapes it.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from pipeline.common.flatten import flatten
from pipeline.evaluation.metrics import MAIN
from pipeline.methods import METHODS
from pipeline.report.contents import ClusterSample, ConfusedPair, RankedImage, RankedList, ReportData
from pipeline.report.signal_wording import signal_sentences

DASH = "–"
_KEPT = "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # of what Python does not call printable
KIND_TITLES = {
    "result": "Result: the last epoch of this run",
    "members": "By data set",
    "tracklets": "By tracklet",
    "best-of-run": "Best evaluation of the run, chosen by its test mAP",
    "baseline": "Baselines without training",
    "published": "Published",
}
KIND_REMARKS = {
    "result": "Nothing about it was chosen by looking at the test set.",
    "members": "Each data set of the union among its own images, as on its own; the result ranks all of them together.",
    "tracklets": "The mean embedding of a tracklet's images in place of the images, among queries and gallery.",
    "best-of-run": "What the papers report. Choosing it looks at the test set, so it is not the result.",
    "baseline": "The same evaluation without any training on these images.",
    "published": "As their authors report it: compare with the best of the run. DCCC* is most likely the IBN backbone.",
}
VERDICTS = {"right": "✓", "wrong": "✗", "distractor": "○"}
_GROUPS = {
    "best": "The easiest queries: highest average precision",
    "median": "Queries in the middle: median average precision",
    "worst": "The hardest queries: lowest average precision",
}
_PERCENT_COLUMNS = (
    f"student_{MAIN.key}",
    f"teacher_{MAIN.key}",
    "neighbour_recall",
    "single_camera",
    "ami",
    "purity",
    "pairwise_precision",
    "pairwise_recall",
    "pairwise_f",
)
HISTORY_COLUMNS = {
    "epoch": "epoch",
    "eps": "eps",
    "learning_rate": "learning rate",
    "num_clusters": "clusters",
    "num_outliers": "outliers",
    "num_unreliable": "unreliable",
    "num_links_mended": "links mended",
    "distance_within": "distance within",
    "distance_between": "distance between",
    "neighbour_recall": "neighbours found %",
    "single_camera": "single-camera clusters %",
    "camera_entropy": "camera entropy",
    "ari_last_epoch": "ARI with last epoch",
    "silhouette": "silhouette",
    "loss": "loss",
    "loss_hard": "hard loss",
    "loss_soft": "soft loss",
    "loss_proxies": "loss of the camera proxies",
    f"student_{MAIN.key}": f"student {MAIN.heading} %",
    f"teacher_{MAIN.key}": f"teacher {MAIN.heading} %",
    "ari": "ARI",
    "ami": "AMI %",
    "purity": "purity %",
    "pairwise_precision": "pair precision %",
    "pairwise_recall": "pair recall %",
    "pairwise_f": "pair F %",
    "images_per_second": "images/s",
    "seconds": "seconds",
}


def percent(fraction: float | None, *, unit: bool = False, digits: int = 1) -> str:
    """`0.5237` -> `52.4`, or `52.4%` with the unit; a dash for anything but a finite number."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    return f"{100 * fraction:.{digits}f}" + ("%" if unit else "")


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign: `0.375` -> `+37.5`."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def count(number: int, noun: str) -> str:
    """`count(1200, "image")` -> `1,200 images`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def lowered(name: str) -> str:
    """A name inside a sentence: `Student` -> `student`, but `DCCC` stays."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def printable(text: str) -> str:
    """`text` with a replacement character for each that controls a terminal or the direction of writing."""
    return "".join(each if each.isprintable() or each in _KEPT else "\N{REPLACEMENT CHARACTER}" for each in text)


def shortened(name: str, length: int = 34) -> str:
    """`name` as a figure shows it: printable, cut in its middle if it is longer than `length`."""
    name = printable(" ".join(name.split()))
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[head + 1 - length :]}"


def flattened(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(dotted key, value as YAML would write it) for every leaf of nested settings, in their order."""
    return ((key, _yaml(value)) for key, value in flatten(settings).items())


def history_cell(column: str, value: float) -> str:
    """One cell of the table of epochs."""
    if pd.isna(value):
        return DASH
    if column in _PERCENT_COLUMNS:
        return percent(value)
    if column in ("epoch", "num_clusters", "num_outliers", "num_unreliable", "num_links_mended"):
        return f"{int(value):,}"
    if column == "learning_rate":
        return f"{value:.2e}"
    if column in ("images_per_second", "seconds"):
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.3f}"


def summary(data: ReportData) -> str:
    """The run in one paragraph."""
    sentences = (_training(data), _clusters(data), *signal_sentences(data.history, data.settings), _scores(data))
    return " ".join(sentence for sentence in sentences if sentence)


def protocol(data: ReportData) -> str:
    """How the scores were measured."""
    if data.num_queries == 0:
        return ""
    removed = (
        "gallery images of the query's identity in the query's own camera are removed before ranking"
        if data.uses_cameras
        else "the protocol uses no cameras: the whole gallery is ranked, except the query's own file"
    )
    text = f"Every query ranks the gallery by cosine similarity; {removed}."
    left_out = data.num_queries - data.num_valid_queries
    if left_out:
        verbs = "has no valid match and is" if left_out == 1 else "have no valid match and are"
        return f"{text} {left_out:,} of {count(data.num_queries, 'query')} {verbs} left out."
    return f"{text} {count(data.num_queries, 'query')}: each has a valid match."


def method_name(settings: Mapping[str, Any]) -> str:
    """The method of a training as papers call it; models of before there was a choice are DCCC's."""
    return METHODS[settings.get("method", "dccc")].title


def group_title(group: str) -> str:
    """Heading of the ranked lists that were chosen alike."""
    return _GROUPS.get(group, f"{group} queries by average precision")


def query_caption(ranked: RankedList) -> str:
    """Identity, camera and average precision of a query."""
    parts = _whose(ranked.query_pid, ranked.query_camid)
    if ranked.average_precision is not None:
        parts.append(f"average precision {percent(ranked.average_precision, unit=True)}")
    return ", ".join(parts)


def cluster_caption(sample: ClusterSample) -> str:
    """Name and size of a cluster: `cluster 7, 12 images`."""
    name = "outliers" if sample.number is None else f"cluster {sample.number}"
    return f"{name}, {count(sample.size, 'image')}"


def confusion_caption(pair: ConfusedPair) -> str:
    """The two identities and how often: `identities 3 and 7: 12 times`."""
    return f"identities {pair.identity} and {pair.other}: {count(pair.count, 'time')}"


def entry_alt(entry: RankedImage, rank: int) -> str:
    """Alternative text of one place of a ranked list."""
    parts = [f"Rank {rank}: {entry.verdict}", *_whose(entry.pid, entry.camid)]
    if entry.similarity is not None:
        parts.append(f"cosine {entry.similarity:.2f}")
    return ", ".join(parts)


def _whose(pid: int | str | None, camid: int | str | None) -> list[str]:
    identity = "distractor image" if pid == 0 else None if pid is None else f"identity {pid}"
    return [text for text in (identity, None if camid is None else f"camera {camid}") if text]


def _training(data: ReportData) -> str:
    train = data.split("train")
    images = "the training images" if train is None else count(train.images, "image")
    epochs = count(len(data.history), "epoch")
    if data.history.empty:
        return f"{data.backbone} was not trained: the history has no epoch."
    return (
        f"{data.backbone} was trained by {data.method} for {epochs} on {images} of the data set {data.shown_dataset},"
        " without identity labels."
    )


def _clusters(data: ReportData) -> str:
    train, found = data.split("train"), data.cluster_count
    if found is None:
        return ""
    share = f" ({percent(found.outliers / train.images, unit=True)})" if train is not None and train.images else ""
    text = (
        f"{_capital(by_result(data))} groups them into {count(found.clusters, 'cluster')} and leaves"
        f" {count(found.outliers, 'image')}{share} in none"
    )
    if train is not None and train.identities:
        text += f"; in truth they show {count(train.identities, 'identity')}, which the training never sees"
    return f"{text}."


def by_result(data: ReportData) -> str:
    """The network that is the result, in a sentence: `the student after epoch 20`."""
    result = data.first("result")
    name = "student" if result is None else lowered(result.name)
    return f"the {name}" if data.last_epoch is None else f"the {name} after epoch {data.last_epoch}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _scores(data: ReportData) -> str:
    result, baselines = data.first("result"), list(data.baselines.items())
    if result is None or MAIN.key not in result.scores:
        return "The network was not evaluated."
    score = result.scores[MAIN.key]
    text = f"{_capital(by_result(data))} reaches an {MAIN.heading} of {percent(score, unit=True)}"
    if "rank1" in result.scores:
        share = percent(result.scores["rank1"], unit=True)
        text += f" and ranks a correct match first for {share} of the queries"
    if not baselines:
        return f"{text}."
    (first, level), *others = baselines
    gain = score - level
    times = f", {score / level:.1f} times as high" if gain > 0 and level > 0 else ""
    side = "above" if gain >= 0 else "below"
    text += (
        f". Its {MAIN.heading} is {abs(100 * gain):.1f} points {side} the {percent(level, unit=True)}"
        f" of the {lowered(first)}{times}."
    )
    rest = "; ".join(f"{lowered(name)} {percent(each, unit=True)}" for name, each in others)
    return f"{text} Also for comparison: {rest}." if rest else text


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return str(value) if value != {} else "{}"
