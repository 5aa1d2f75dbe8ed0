"""What happens to a document: sources, extraction, language, rules, perplexity, domain, duplicates.

Arrow tables in, Arrow tables out.  Nothing here knows what a run, a shard folder or a cluster is.
"""
