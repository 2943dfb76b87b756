"""The methods of training, by name: which parts each is made of, and where it was published.

They share trainer, network, loss, clustering and evaluation. What differs is how eps moves, what the memory holds, and
whether a teacher softens the targets; params.yaml (`methods`) says with which values.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        title: as its authors write it.
        source: where it was published.
        parts: setting -> the values that belong to the method; all others are free.
    """

    title: str
    source: str
    parts: dict[str, tuple[str | float, ...]] = field(default_factory=dict)


METHODS = {
    "dccc": Method(
        "DCCC",
        "He et al., ICASSP 2024 (arXiv 2303.06810)",
        {"memory.update": ("dynamic", "hard", "mean", "instance")},
    ),
    "cluster_contrast": Method(
        "Cluster Contrast",
        "Dai et al., ACCV 2022 (arXiv 2103.11568)",
        {"clustering.eps_schedule": ("fix",), "memory.update": ("instance", "mean", "hard"), "loss.weight": (0,)},
    ),
    "spcl": Method(
        "SpCL",
        "Ge et al., NeurIPS 2020 (arXiv 2006.02713)",
        {"clustering.eps_schedule": ("fix",), "memory.update": ("hybrid",), "loss.weight": (0,)},
    ),
}
