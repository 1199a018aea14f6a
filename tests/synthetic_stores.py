"""Stores of synthetic reports with their truth, of a corpus that may be sent anywhere."""

import shutil
from pathlib import Path

from teachback.store.corpora.imported import Corpus
from teachback.store.corpora.intake import import_reports, reading_of
from teachback.store.corpora.synthetic import generate
from teachback.store.corpora.synthetic.curated import CURATOR, curated_labels
from teachback.store.database import Store


def curated_store(folder: Path, reports: int, seed: int) -> Path:
    """Make a store in which each report is curated."""
    path = folder / "labels.duckdb"
    pairs = ((entry.report, curated_labels(entry)) for entry in generate(reports, seed=seed))
    corpus = Corpus("synthetic", licence=None, egress="any", source="generator")
    with Store(path) as opened:
        import_reports(opened, reading_of(pairs, corpus, [CURATOR], total=reports))
    return path


def copied(store: Path, folder: Path) -> Path:
    """Copy a store with all that stands beside it, such as the snapshot."""
    return shutil.copytree(store.parent, folder, dirs_exist_ok=True) / store.name
