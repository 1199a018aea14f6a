"""Stores that are worth a review, and the page served from them by a real process."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.teach import TeachConfig
from teachback.store.corpora.imported import Corpus
from teachback.store.corpora.intake import import_reports, reading_of
from teachback.store.corpora.synthetic import generate
from teachback.store.corpora.synthetic.curated import CURATOR, curated_labels
from teachback.store.database import Store
from teachback.store.label import Evidence, Label, Labeler
from teachback.store.report import Report
from teachback.store.rows import label_table, labeler_row

REPORTS = 40
ATTACK = '<script>document.title="broken"</script><img src=x onerror=alert(1)>"\'{{7*7}}'
HOSTILE = Report(
    "evil\"'><script>1</script>", "synthetic", {"findings": f"No effusion. {ATTACK}", "impression": ATTACK}
)


@dataclass(frozen=True)
class Served:
    """A page that runs.

    Attributes:
        address: What it printed, token included.
        store: The store.
        running: Its process.
    """

    address: str
    store: Path
    running: subprocess.Popen[str]

    @property
    def base(self) -> str:
        return self.address.split("/review")[0]

    @property
    def token(self) -> str:
        return self.address.split("token=")[1]


@pytest.fixture(scope="session")
def reviewable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of synthetic reports that rules and the stand-in have labelled, and one report that attacks the page."""
    path = tmp_path_factory.mktemp("page") / "labels.duckdb"
    entries = list(generate(REPORTS, seed=5))
    evil = Labeler("llm", ATTACK, "1", model=ATTACK)
    with Store(path) as store:
        pairs = [(entry.report, curated_labels(entry)) for entry in entries]
        import_reports(store, reading_of(pairs, Corpus("synthetic", "fictitious", "any", "synth"), (CURATOR,)))
        import_reports(store, reading_of([(HOSTILE, ())], Corpus("synthetic", "fictitious", "any", "synth")))
        spans = (Evidence("findings", 3, 20, "effusion. <script", ATTACK), Evidence("findings", -1, -1, ATTACK))
        labels = [
            Label(
                HOSTILE.report_id, "findings", "Pleural Effusion", "present", evil.labeler_id, "full", evidence=spans
            ),
            Label(HOSTILE.report_id, "diseases", ATTACK, "present", evil.labeler_id, "full", icd10=ATTACK),
        ]
        store.write({"labelers": [labeler_row(evil)], "labels": label_table(labels)})
    teach_store(path, TeacherSettings(llm="stand-in"), TeachConfig())
    return path


@pytest.fixture
def store(reviewable: Path, tmp_path: Path) -> Path:
    for file in reviewable.parent.glob("*.duckdb"):
        shutil.copyfile(file, tmp_path / file.name)
    return tmp_path / reviewable.name


@contextmanager
def serving(store: Path, *options: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "teachback", "audit", str(store), "--no-browser", *options]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert running.stdout is not None
        address = running.stdout.readline().split(": ", 1)[1].strip()
        yield Served(address, store, running)
    finally:
        running.terminate()
        running.wait(20)
        if running.stdout is not None:
            running.stdout.close()


@pytest.fixture
def served(store: Path) -> Iterator[Served]:
    with serving(store, "--reviewer", "Ann") as page:
        yield page
