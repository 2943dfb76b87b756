"""From features to a judgement: ranking, re-ranking, mAP, CMC and mINP."""

from pipeline.evaluation.baselines import colour_histogram
from pipeline.evaluation.protocol import RetrievalScores, evaluate, evaluate_distances
from pipeline.evaluation.ranking import top_matches

__all__ = ["RetrievalScores", "colour_histogram", "evaluate", "evaluate_distances", "top_matches"]
