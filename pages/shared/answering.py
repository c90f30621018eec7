"""Models at work: loaded once for all, answering each visitor alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pages.shared.caching import cached, cached_resource
from pages.shared.runs import object_of
from trashnet.inference.classifier import Classifier, Prediction, Similar
from trashnet.inference.explain import explain
from trashnet.runs.run import Run


@dataclass(frozen=True)
class Answer:
    """What a run's model says of a photo.

    Attributes:
        prediction: The answer itself.
        threshold: Confidence below which it counts as not sure.
        similar: The training photos that the photo is most like, the nearest first.
    """

    prediction: Prediction
    threshold: float
    similar: list[Similar]


@cached_resource(max_entries=4, show_spinner="Loading the model")
def classifier_of(run: Run) -> Classifier:
    """Returns a finished run's model, loaded once for all visitors."""
    return Classifier(run)


# Of the visit: what visitors send leaves no trace in a cache that others share.
@cached(max_entries=6, scope="session")
def answer_of(run: Run, content: bytes) -> Answer:
    """Returns a model's answer for an upload.

    Raises:
        TrashnetError: It is no picture, or the run has no model.
    """
    classifier = classifier_of(run)
    prediction = classifier.classify(content)
    similar = classifier.similar(prediction, without=object_of(run, content))
    return Answer(prediction, classifier.threshold, similar)


@cached(max_entries=12, scope="session")
def evidence_of(
    run: Run, content: bytes, label: str, _prediction: Prediction
) -> NDArray[np.float32]:
    """Returns the map of the evidence for a class in an upload that was answered, `(h, w)`."""
    return explain(classifier_of(run), content, label, _prediction)


BATCH = threading.Lock()
"""Of the module, because any visitor can have Streamlit's caches cleared."""


@contextmanager
def batch_turn() -> Iterator[None]:
    """Holds what a batch is answered under: one at a time, single photos go between.

    It waits for its turn under a sentence. A visitor who leaves gives it back with the next thing
    drawn, which is when Streamlit ends a script; so draw after each photo.
    """
    waiting = st.empty()
    while not BATCH.acquire(timeout=0.5):
        waiting.caption("Waiting for another visitor's photos to be answered")
    try:
        waiting.empty()
        yield
    finally:
        BATCH.release()
