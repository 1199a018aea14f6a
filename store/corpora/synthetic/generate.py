"""Write synthetic, fictitious chest X-ray reports with the truth about each.

**What the truth is.** The true status of a finding is what the whole report says of it: findings and impression
together, mention by mention, `present` > `uncertain` > `absent` > `unmentioned`. Indication and comparison state no
status, whatever they name. The truth is not guessed from the text: every clause is written from the facts it states,
and the statuses are the sum of the facts of the clauses that were written.

**Conventions**, those of the CheXpert labeler (arXiv 1901.07031) where it has one:

- `likely`, `probable`, `may represent`, `suggests`, `concerning for`, `versus` are uncertain; `consistent with`,
  `compatible with`, `representing`, `due to` assert.
- Vascular congestion and heart failure are Edema; infiltrate and airspace disease are Lung Opacity; infection is
  Pneumonia; collapse is Atelectasis; plaques, pleural thickening, scarring and calcification are Pleural Other.
- A nodular opacity is both Lung Lesion and Lung Opacity; a consolidative opacity both Consolidation and Lung Opacity.
- A normal cardiomediastinal silhouette denies both Cardiomegaly and Enlarged Cardiomediastinum; an enlarged one
  asserts the latter alone. Borderline or upper-limits-of-normal is uncertain.
- An old fracture is a present fracture. Wires, clips and valves are Support Devices; a removed device is absent.
- `The lungs are clear`, `no acute cardiopulmonary process`, `no acute osseous abnormality`, low lung volumes and
  granulomas give no finding a status.
- What has resolved is absent; what is unchanged, improved or worse is present; `no new X` is absent.
- A finding on one side and none on the other is present.

Report i of seed s depends on (s, i, prevalence) alone.
"""

from collections.abc import Iterator, Mapping
from itertools import chain

from teachback.errors import SettingError
from teachback.store.corpora.synthetic.bank import PastedReport, load_bank
from teachback.store.corpora.synthetic.compose import Composition, compose, write_comparison, write_indication
from teachback.store.corpora.synthetic.grammar import Draw
from teachback.store.corpora.synthetic.patient import Chest, age_of, draw_chest, sex_of
from teachback.store.corpora.synthetic.prevalence import Rates, solve_rates
from teachback.store.corpora.synthetic.style import Style, draw_style
from teachback.store.corpora.synthetic.surface import joined, write_impression, write_sentences
from teachback.store.corpora.synthetic.truth import Disease, Statement, SyntheticReport, aggregate
from teachback.store.label import Status
from teachback.store.report import Report

__all__ = ["generate"]

_PASTED = 0.35  # share of normal reports that are a template word for word, where one fits
_HAS_INDICATION = 0.8
_MORE_EXACT = {  # a name yields to the more exact one for the same thing
    "pulmonary edema": "acute pulmonary edema",
    "pneumonia": "aspiration pneumonia",
}
_HAS_COMPARISON = 0.6  # where there is nothing to compare with; else always


def generate(
    n: int, seed: int = 0, *, start: int = 0, prevalence: Mapping[str, float] | None = None
) -> Iterator[SyntheticReport]:
    """Write `n` reports, one at a time.

    Args:
        n: How many.
        seed: Which corpus.
        start: Index of the first; any range of a corpus can be written on its own.
        prevalence: Finding to the share of reports in (0, 0.9] in which it is present, in place of real life's.

    Raises:
        SettingError: A finding is unknown, a rate is out of range, or a number is negative.
    """
    if n < 0 or start < 0:
        raise SettingError(f"cannot write {n} reports from index {start}", "give numbers of 0 or more")
    rates = solve_rates(prevalence)
    return (_report(seed, index, rates) for index in range(start, start + n))


def _report(seed: int, index: int, rates: Rates) -> SyntheticReport:
    chest = draw_chest(seed, index, rates)
    draw = Draw(seed, "words", index)
    style = draw_style(draw)
    sections: dict[str, str] = {}
    if draw.chance(_HAS_INDICATION):
        sections["indication"] = write_indication(chest, style, draw)
    if chest.prior is not None or draw.chance(_HAS_COMPARISON):
        sections["comparison"] = write_comparison(chest, style, draw)
    said, written = _body(chest, style, draw)
    text = _document(sections, written, style, draw)
    if style.form == "text":
        sections = {"text": text}
        stated = {"text": aggregate(fact for part in said.values() for s in part for fact in s.facts)}
    else:
        sections |= written
        stated = {name: aggregate(fact for s in part for fact in s.facts) for name, part in said.items()}
    statements = [statement for part in said.values() for statement in part]
    return SyntheticReport(
        report=Report(
            f"syn-{seed}-{index:06d}",
            "synthetic",
            sections,
            f"syn-{seed}-p{chest.subject:06d}",
            {"sex": sex_of(chest.subject), "age": str(age_of(chest.subject))},
        ),
        statuses=aggregate(fact for statement in statements for fact in statement.facts),
        diseases=_diseases(statements),
        statuses_by_section=stated,
        text=text,
    )


def _body(chest: Chest, style: Style, draw: Draw) -> tuple[dict[str, tuple[Statement, ...]], dict[str, str]]:
    """Return the statements and the words of the sections that state something."""
    healthy = chest.prior is None and all(status in ("absent", "unmentioned") for status in chest.statuses.values())
    if healthy and style.form == "both" and draw.chance(_PASTED):
        denied = {finding for finding, status in chest.statuses.items() if status == "absent"}
        fitting = [pasted for pasted in load_bank().pasted if denied.issuperset(chain(*pasted.absent.values()))]
        if fitting:
            return _pasted(draw.pick(fitting), style)
    composition: Composition = compose(chest, style, draw)
    said: dict[str, tuple[Statement, ...]] = {}
    written: dict[str, str] = {}
    if composition.findings:
        said["findings"] = composition.findings
        written["findings"] = write_sentences(composition.findings, style, draw)
    if composition.impression:
        said["impression"] = composition.impression
        written["impression"] = write_impression(composition.impression, style, draw)
    return said, written


def _pasted(template: PastedReport, style: Style) -> tuple[dict[str, tuple[Statement, ...]], dict[str, str]]:
    written = {name: text.upper() if style.capitals else text for name, text in template.sections.items()}
    absent: Status = "absent"
    said: dict[str, tuple[Statement, ...]] = {
        name: (Statement(text, tuple((finding, absent) for finding in template.absent[name])),)
        for name, text in template.sections.items()
    }
    return said, written


def _document(sections: Mapping[str, str], written: Mapping[str, str], style: Style, draw: Draw) -> str:
    """Join all sections; a report without sections has paragraphs, at times with the indication in front."""
    if style.form != "text":
        return joined([*sections.items(), *written.items()], style)
    paragraphs = list(written.values())
    if "indication" in sections and draw.chance(0.35):
        head = draw.pick(("History", "Clinical history", "Reason for exam"))
        paragraphs.insert(0, f"{head.upper() if style.heading == 'upper' else head}: {sections['indication']}")
    return "\n\n".join(paragraphs)


def _diseases(statements: list[Statement]) -> tuple[Disease, ...]:
    asserted = dict.fromkeys(disease for statement in statements for disease in statement.diseases)
    names = {disease.name for disease in asserted}
    return tuple(disease for disease in asserted if _MORE_EXACT.get(disease.name) not in names)
