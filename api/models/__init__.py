"""Models: versions that trainings made, aliases, lineage, files."""
