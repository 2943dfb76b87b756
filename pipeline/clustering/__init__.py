"""From embeddings to pseudo labels: nearest neighbours, Jaccard distance, DBSCAN, and the schedule of its eps."""

from pipeline.clustering.camera_jaccard import CameraAware, camera_jaccard_distance
from pipeline.clustering.centroids import centroids
from pipeline.clustering.dbscan import OUTLIER, dbscan
from pipeline.clustering.jaccard import jaccard_distance
from pipeline.clustering.neighbours import nearest_neighbours, recall
from pipeline.clustering.pseudo_labels import PseudoLabels, Reliability, pseudo_labels
from pipeline.clustering.schedule import SCHEDULES, eps_at
from pipeline.clustering.signals import SIGNALS, camera_entropy, cluster_signals
from pipeline.clustering.spread import cluster_spread
from pipeline.clustering.table import cluster_table

__all__ = [
    "OUTLIER",
    "SCHEDULES",
    "SIGNALS",
    "CameraAware",
    "PseudoLabels",
    "Reliability",
    "camera_entropy",
    "camera_jaccard_distance",
    "centroids",
    "cluster_signals",
    "cluster_spread",
    "cluster_table",
    "dbscan",
    "eps_at",
    "jaccard_distance",
    "nearest_neighbours",
    "pseudo_labels",
    "recall",
]
