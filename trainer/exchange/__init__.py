"""Models as folders of Hugging Face, there and back (docs/model-exchange.md).

Nothing here imports transformers: what its classes compute is known, and tests compare.
"""
