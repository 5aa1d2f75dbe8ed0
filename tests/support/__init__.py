"""What several tests share: small shards, recipes, and ways to compare runs."""
