"""What trains a model: optimizer, schedule, loop, checkpoints, metrics.  Knows objectives only as functions."""
