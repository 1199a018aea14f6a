"""The baseline that every student must beat: a bag of words with one logistic regression a finding.

It learns from the same lessons, reads in the same unit, and goes through the same calibration and gate.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from teachback.distill.lessons import Lesson
from teachback.distill.passages import Score
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["fit_linear"]


def fit_linear(lessons: Sequence[Lesson], *, seed: int = 0) -> Score:
    """Train on a round's lessons; those on findings are used, with their weights.

    Args:
        lessons: The lessons.
        seed: Of the solver.

    Returns:
        A function from N texts to (N, 13, 4) probabilities of `STATUSES`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[?:]")
    features = vectorizer.fit_transform([lesson.text for lesson in lessons])
    models: list[LogisticRegression | int] = []
    for finding in FINDINGS:
        asked = [(i, lesson.targets[finding]) for i, lesson in enumerate(lessons) if finding in lesson.targets]
        parts = [(i, STATUSES.index(answer), weight) for i, target in asked for answer, weight in target.parts()]
        where = [i for i, _, _ in parts]
        statuses = np.array([status for _, status, _ in parts], dtype=np.int64)
        classes = np.unique(statuses)
        if len(classes) < 2:
            models.append(int(classes[0]) if len(classes) else STATUSES.index("unmentioned"))
            continue
        model = LogisticRegression(C=10.0, max_iter=300, random_state=seed)
        models.append(model.fit(features[where], statuses, sample_weight=[weight for _, _, weight in parts]))

    def score(texts: Sequence[str]) -> NDArray[np.float32]:
        scored = vectorizer.transform(texts)
        probabilities = np.zeros((len(texts), len(FINDINGS), len(STATUSES)), np.float32)
        for f, model in enumerate(models):
            if isinstance(model, int):  # only one status was ever taught
                probabilities[:, f, model] = 1.0
            else:
                probabilities[:, f, model.classes_] = model.predict_proba(scored)
        return probabilities

    return score
