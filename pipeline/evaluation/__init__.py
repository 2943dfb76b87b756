"""Retrieval: ranking and re-ranking of a gallery, the metrics, and the evaluation of a training."""

from pipeline.evaluation.baselines import colour_histogram
from pipeline.evaluation.protocol import RetrievalScores, evaluate, evaluate_distances
from pipeline.evaluation.ranking import top_matches

__all__ = ["RetrievalScores", "colour_histogram", "evaluate", "evaluate_distances", "top_matches"]
