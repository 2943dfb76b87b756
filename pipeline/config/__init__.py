"""The settings of an experiment: their schema, and how they are read from params.yaml."""
