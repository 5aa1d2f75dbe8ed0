"""What a run is: recipe, plan, the step that takes one shard through all stages, deduplication, publication."""
