"""Settings that fit one's own images: what they are like, what follows from it, and how long it will take."""
