"""Who is in a folder of crops, without a training: clusters of any network's embeddings that keep their numbers."""
