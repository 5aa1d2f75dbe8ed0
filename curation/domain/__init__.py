"""Domain classification: which subject a document is about, by a BERT-class sequence classifier.

``Domain`` is the stage, ``DomainClassifier`` the model behind it, ``fit_domain`` makes one from labelled
text.  Importing this package is cheap: torch and transformers load with the first model.
"""

from curation.domain.base_model import packaged_minilm
from curation.domain.classifier import DomainClassifier, load_classifier
from curation.domain.fit import FitOptions, Progress, fit_domain
from curation.domain.labelled import LabelledSet, read_labelled
from curation.domain.model_directory import read_labels
from curation.domain.stage import Domain, DomainParameters, Scorer

__all__ = [
    "Domain",
    "DomainClassifier",
    "DomainParameters",
    "FitOptions",
    "LabelledSet",
    "Progress",
    "Scorer",
    "fit_domain",
    "load_classifier",
    "packaged_minilm",
    "read_labelled",
    "read_labels",
]
