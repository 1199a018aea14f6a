"""The baseline that every student must beat: a bag of words with one logistic regression a finding.

It learns from the same rows, each on the text of its own scope, and goes through the same calibration and gate.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.freeze import Frozen
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["fit_and_predict"]


def fit_and_predict(
    rows: Sequence[TrainingRow], frozen: Frozen, texts: Sequence[str], *, seed: int = 0
) -> NDArray[np.float32]:
    """Train on a round's rows and score texts.

    Args:
        rows: Selected rows of the findings task are used, with their weights.
        frozen: The campaign's inputs.
        texts: N texts to score.
        seed: Of the solver.

    Returns:
        (N, 13, 4) probabilities of `STATUSES`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    reports = {report.report_id: report for split in ("train", "pool") for report in frozen.reports[split]}
    taught = [row for row in rows if row.selected and row.label.task == "findings"]
    keys = sorted({(row.label.report_id, row.label.scope) for row in taught})
    index = {key: i for i, key in enumerate(keys)}
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[?:]")
    features = vectorizer.fit_transform(
        [reports[report_id].text(scope) for report_id, scope in keys]  # type: ignore[arg-type]
    )
    scored = vectorizer.transform(texts)
    by_finding: dict[str, list[TrainingRow]] = defaultdict(list)
    for row in taught:
        by_finding[row.label.target].append(row)
    probabilities = np.zeros((len(texts), len(FINDINGS), len(STATUSES)), np.float32)
    for f, finding in enumerate(FINDINGS):
        members = by_finding[finding]
        where = [index[row.label.report_id, row.label.scope] for row in members]
        statuses = np.array([STATUSES.index(row.label.status) for row in members])
        classes = np.unique(statuses)
        if len(classes) < 2:
            probabilities[:, f, classes[0] if len(classes) else 3] = 1.0
            continue
        model = LogisticRegression(C=10.0, max_iter=300, random_state=seed)
        model.fit(features[where], statuses, sample_weight=[row.weight for row in members])
        probabilities[:, f, model.classes_] = model.predict_proba(scored)
    return probabilities
