"""The figures of the pages, drawn by matplotlib: curves over the epochs, maps, sheets of thumbnails."""
