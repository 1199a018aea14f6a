"""The reports that the teacher's benchmarks label: synthetic ones, joined until they are as long as asked, numbered.

Each report carries its number in its first sentence (`Study no. 000123.`), so that no two are alike and a server knows
from the words alone which one it is asked about. Where more reports than texts are wanted, texts come again under
other numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from teachback.store.corpora.imported import Corpus
from teachback.store.corpora.intake import import_reports, reading_of
from teachback.store.corpora.synthetic import generate
from teachback.store.corpora.synthetic.truth import Disease, SyntheticReport
from teachback.store.database import Store
from teachback.store.report import Report

__all__ = ["CORPUS", "MARK", "LongReport", "long_reports", "numbered", "write_store"]

CORPUS = "benchmark"
MARK = "Study no. "
CHARACTERS = 1_500  # of the sections that are labelled: a long chest report
SHORT_OF = 255  # characters below the wanted length at which no further part is joined: half of a long part
PARTS_AT_MOST = 60  # synthetic reports that one long one may need; they have 350 characters on average


@dataclass(frozen=True, slots=True)
class LongReport:
    """A report without its number.

    Attributes:
        findings: The findings section.
        impression: The impression section.
        diseases: What it asserts.
    """

    findings: str
    impression: str
    diseases: tuple[Disease, ...]

    def report(self, number: int) -> Report:
        """Return it as the report of that number."""
        sections = {"findings": f"{MARK}{number:06d}. {self.findings}"}
        if self.impression:
            sections["impression"] = self.impression
        return Report(f"bench-{number:06d}", CORPUS, sections)


def long_reports(texts: int, seed: int = 0, characters: int = CHARACTERS) -> list[LongReport]:
    """Return so many different texts of about that length."""
    parts = generate(texts * PARTS_AT_MOST, seed)
    return [_join(parts, characters) for _ in range(texts)]


def numbered(texts: list[LongReport], n: int) -> Iterator[Report]:
    """Yield `n` reports: text after text, from the first again when they run out."""
    return (texts[number % len(texts)].report(number) for number in range(n))


def write_store(path: Path, texts: list[LongReport], n: int) -> None:
    """Put `n` reports into a new store."""
    corpus = Corpus(CORPUS, None, "any", "benchmarks/servers/reports.py")
    with Store(path) as store:
        import_reports(store, reading_of(((report, ()) for report in numbered(texts, n)), corpus, total=n))


def _join(parts: Iterator[SyntheticReport], characters: int) -> LongReport:
    findings: list[str] = []
    impression: list[str] = []
    diseases: dict[Disease, None] = {}
    length = 0
    while length < characters - SHORT_OF:
        part = next(parts)
        sections = part.report.sections
        findings += [sections[name].strip() for name in ("findings", "text") if sections.get(name)]
        impression += [sections["impression"].strip()] if sections.get("impression") else []
        diseases.update(dict.fromkeys(part.diseases))
        length = sum(map(len, findings)) + sum(map(len, impression))
    return LongReport(" ".join(findings), " ".join(impression), tuple(diseases))
