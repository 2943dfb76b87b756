"""From folders of image files to batches of views: catalogue, readers, packed store, augmentation, sampling."""
