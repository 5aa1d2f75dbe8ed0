"""From published dataset versions to batches.

``dataset`` opens a version, ``tokenizer`` and ``chat`` make tokens of it, ``cache`` keeps them, ``documents`` puts
several versions side by side, ``order`` and ``mixture`` say which comes when, ``packing`` where it stands in a row.
``batches``, ``pairs`` and ``prompts`` are what the stages iterate over: they hold no clock and no generator, their
position is one or two integers, and the same position always gives the same batch.
"""
