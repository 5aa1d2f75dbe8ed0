"""Products and losses that do without a large intermediate result; each with a naive twin that tests compare with."""
