"""Ways to start a job elsewhere or by others: whoever starts it, ``trainer.main`` does it."""
