"""Unsupervised object re-identification: dynamic clustering and cluster contrastive learning (DCCC)."""
