"""A radiologist's habits, drawn once a report so that its wording is of one hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from teachback.store.corpora.synthetic.grammar import Draw

__all__ = ["Form", "Style", "Voice", "draw_style"]

T = TypeVar("T")
Voice = Literal["full", "terse", "structured", "dictation"]
Form = Literal["both", "findings", "impression", "text"]

_VOICES: Mapping[Voice, float] = {"full": 0.58, "terse": 0.24, "structured": 0.12, "dictation": 0.06}
_FORMS: Mapping[Form, float] = {"both": 0.70, "findings": 0.06, "impression": 0.11, "text": 0.13}
_ORDERS: tuple[tuple[str, ...], ...] = (
    ("devices", "lungs", "pleura", "heart", "bones", "other"),
    ("heart", "lungs", "pleura", "bones", "devices", "other"),
    ("other", "devices", "heart", "lungs", "pleura", "bones"),
    ("lungs", "pleura", "heart", "bones", "devices", "other"),
    ("heart", "devices", "lungs", "pleura", "other", "bones"),
    ("other", "lungs", "pleura", "heart", "devices", "bones"),
)
_HABIT = 4  # wordings of one kind that a radiologist uses


@dataclass(frozen=True, slots=True)
class Style:
    """Habits of one report.

    Attributes:
        voice: Full sentences, terse notes, lines headed by organ, or dictation without punctuation.
        form: Which sections there are.
        order: Reading order of the organ systems.
        habit: Number in [0, 1) that chooses this hand's wordings out of each kind.
        oxford: Whether lists take a comma before `or`.
        conjunction: `or` or `nor` in denials, or `/` between the names.
        lists: Chance that denials come in one list.
        checklist: Whether organ lines name single findings, such as `Pneumothorax: None.`
        capitals: Whether all is in capitals.
        abbreviates: Whether terms are abbreviated.
        careless: Whether typing errors occur.
        numbered: Whether the impression is numbered.
        mask: What stands for dates and names.
        prior: The word for the earlier film.
        heading: How headings are written: `upper`, `title` or `lower`.
    """

    voice: Voice
    form: Form
    order: tuple[str, ...]
    habit: float
    oxford: bool
    conjunction: str
    lists: float
    checklist: bool
    capitals: bool
    abbreviates: bool
    careless: bool
    numbered: bool
    mask: str
    prior: str
    heading: Literal["upper", "title", "lower"]

    def choose(self, wordings: Sequence[T], draw: Draw) -> T:
        """Draw one of the few wordings of a kind that this hand uses."""
        n = len(wordings)
        return wordings[(int(self.habit * n) + int(draw.random() * min(_HABIT, n))) % n]


def draw_style(draw: Draw) -> Style:
    """Draw the habits of one report."""
    voice = draw.weighted(_VOICES)
    mask = draw.weighted({"___": 0.5, "XXXX": 0.25, "": 0.25})
    date = f"{1 + int(draw.random() * 12)}/{1 + int(draw.random() * 28)}/20{10 + int(draw.random() * 14)}"
    priors = {
        "the prior study": 0.2,
        "the prior exam": 0.15,
        "prior": 0.15,
        "the previous radiograph": 0.15,
        "the prior radiograph": 0.1,
        "the earlier film": 0.05,
        mask or date: 0.2,
    }
    return Style(
        voice=voice,
        form=draw.weighted(_FORMS),
        order=draw.pick(_ORDERS),
        habit=draw.random(),
        oxford=draw.chance(0.65),
        conjunction=draw.weighted({"or": 0.9, "nor": 0.03, "/": 0.07}),
        lists=draw.pick((0.95, 0.8, 0.5, 0.15)),
        checklist=voice == "structured" and draw.chance(0.45),
        capitals=voice != "dictation" and draw.chance(0.06),
        abbreviates=draw.chance(0.16),
        careless=draw.chance(0.1),
        numbered=draw.chance(0.3),
        mask=mask or date,
        prior=draw.weighted(priors),
        heading=draw.weighted({"upper": 0.65, "title": 0.27, "lower": 0.08}),
    )
