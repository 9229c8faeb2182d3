"""Experiment configurations: one file per family of results, `get_config(arg)` with config strings."""
