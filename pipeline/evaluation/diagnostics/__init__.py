"""What users want to know beyond the scores: which cameras, which identities, what the embedding looks like."""
