"""Perplexity of a document under a SentencePiece + KenLM model of its language.

``Perplexity`` is the stage, ``Scorer`` the model behind it, ``fit_perplexity`` makes one from good text.
"""

from curation.perplexity.fit import Fitted, fit_perplexity
from curation.perplexity.scorer import Scorer, load_scorer
from curation.perplexity.stage import Perplexity, PerplexityParameters

__all__ = ["Fitted", "Perplexity", "PerplexityParameters", "Scorer", "fit_perplexity", "load_scorer"]
