"""From features to a judgement: ranking, re-ranking, mAP, CMC and mINP."""

from pipeline.retrieval.baselines import colour_histogram
from pipeline.retrieval.evaluation import RetrievalScores, evaluate, evaluate_distances
from pipeline.retrieval.ranking import top_matches

__all__ = ["RetrievalScores", "colour_histogram", "evaluate", "evaluate_distances", "top_matches"]
