"""What training and evaluation read: the catalogue, packed images, augmented views, sampled batches."""
