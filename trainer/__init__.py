"""The bundled trainer: from a published dataset version to a language model.

It reads Parquet dataset versions and nothing else of the house.  Models (``trainer.models``) are pure modules that
know nothing of training or of devices; everything else is applied to them from outside.
"""
