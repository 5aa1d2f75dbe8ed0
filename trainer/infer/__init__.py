"""Answers of language models: how tokens are drawn, and an engine that draws many answers at once."""
