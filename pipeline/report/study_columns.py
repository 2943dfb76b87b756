"""The numbers of a training that a study compares: where each stands in the results, and how it is shown."""

from dataclasses import dataclass

from pipeline.evaluation.metrics import MAIN, METRICS


@dataclass(frozen=True)
class Column:
    """One number of a training.

    Attributes:
        name: Of its column in the tables, which also have `<name>_mean` and `<name>_std`.
        heading: In the tables of the page.
        scale: Factor with which it is shown, 100 for percent.
        digits: Decimals with which it is shown.
        score: (candidate, metric) in metrics.json, or a count there, None if it is not there.
        history: Column of training.csv, of which the last epoch counts; None if it is not there.
        shown: Whether the page has a column for it.
    """

    name: str
    heading: str
    scale: float = 1
    digits: int = 0
    score: tuple[str, str] | None = None
    history: str | None = None
    shown: bool = True


_OF_TEACHER = list(METRICS)[:2]  # what the page shows of the teacher
SCORES: tuple[Column, ...] = (
    *(Column(f"student_{key}", m.heading, 100, m.digits, ("student", key)) for key, m in METRICS.items()),
    *(
        Column(f"teacher_{key}", f"teacher {m.heading}", 100, m.digits, ("teacher", key), shown=key in _OF_TEACHER)
        for key, m in METRICS.items()
    ),
    *(
        Column(
            f"{role}_best_{MAIN.key}",
            f"best {MAIN.heading}",
            100,
            MAIN.digits,
            (f"{role}_best_of_run", MAIN.key),
            shown=role == "student",
        )
        for role in ("student", "teacher")
    ),
)
CLUSTERS: tuple[Column, ...] = (
    Column("clusters", "clusters", score=("clustering", "clusters")),
    Column("outliers", "outliers", score=("clustering", "outliers")),
    Column("ari", "ARI", digits=2, history="ari"),
    Column("purity", "purity %", 100, 1, history="purity"),
    Column("pairwise_f", "pairwise F %", 100, 1, history="pairwise_f"),
    Column("single_camera", "single-camera clusters %", 100, 1, history="single_camera"),
    Column("minutes", "minutes", digits=1),
)
MEASURED: tuple[str, ...] = tuple(column.name for column in (*SCORES, *CLUSTERS))
# Of single trainings.
RUNS: tuple[Column, ...] = tuple(
    column
    for column in (*SCORES, *CLUSTERS)
    if column.name in (f"student_{MAIN.key}", "student_rank1", f"teacher_{MAIN.key}", "clusters", "minutes")
)
