"""The methods of training, one file per method."""
