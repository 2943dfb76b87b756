"""What the stage `prepare` does: finds, unpacks, reads and packs a data set."""
