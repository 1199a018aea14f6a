"""From statements to the written page: order, sentences, lines, abbreviations, capitals and typing errors."""

import re
from collections.abc import Sequence

from teachback.store.corpora.synthetic.grammar import Draw, fix_articles
from teachback.store.corpora.synthetic.style import Style
from teachback.store.corpora.synthetic.truth import Statement

__all__ = ["joined", "write_impression", "write_sentences"]

_LINE_HEADS = {
    "devices": ("Lines/tubes", "Support devices", "Devices"),
    "lungs": ("Lungs", "Lungs/airways", "Lung parenchyma"),
    "pleura": ("Pleura", "Pleural spaces", "Pleura"),
    "heart": ("Heart/mediastinum", "Cardiomediastinum", "Heart and mediastinum"),
    "bones": ("Bones/soft tissues", "Bones", "Osseous structures"),
    "other": ("Other", "Comment", "Miscellaneous"),
}
_SHORT = {
    "pneumothorax": "PTX", "pneumonia": "PNA", "atelectasis": "atx", "right lower lobe": "RLL",
    "left lower lobe": "LLL", "right upper lobe": "RUL", "left upper lobe": "LUL", "right middle lobe": "RML",
    "congestive heart failure": "CHF", "bilateral": "b/l", "without": "w/o", "evidence of": "e/o",
    "consistent with": "c/w", "pulmonary": "pulm", "endotracheal tube": "ETT", "nasogastric tube": "NGT",
    "central venous catheter": "CVC", "chronic obstructive pulmonary disease": "COPD",
    "pleural effusion": "pl effusion", "pleural effusions": "pl effusions",
    "cardiomegaly": "CM", "status post": "s/p", "fracture": "fx",
    "fractures": "fxs", "secondary to": "2/2", "mediastinal": "mediast",
}  # fmt: skip
_TERM = re.compile(r"\b(" + "|".join(sorted(map(re.escape, _SHORT), key=len, reverse=True)) + r")\b")
_SHORTENED = 0.6  # share of a term's mentions that an abbreviating hand abbreviates
_LONG_WORD = re.compile(r"\b[a-z]{6,}\b")
_ERRORS = {1: 0.6, 2: 0.3, 3: 0.1}  # typing errors in a careless section
_PUNCTUATION = re.compile(r"[,.;:]")


def write_sentences(statements: Sequence[Statement], style: Style, draw: Draw) -> str:
    """Write the findings: in reading order, as running text or one line an organ system."""
    lines = []
    run_on = style.voice == "dictation" and style.habit < 0.5
    for system in style.order:
        texts = [said.text for said in statements if said.system == system]
        if not texts:
            continue
        if style.voice == "structured":
            lines.append(_organ_line(system, texts, style))
        else:
            lines += [_sentence(text, style) for text in texts]
    text = ("\n" if style.voice == "structured" else " ").join(lines)
    return _finish(_PUNCTUATION.sub("", text) if run_on else text, style, draw)


def write_impression(statements: Sequence[Statement], style: Style, draw: Draw) -> str:
    """Write the impression: as numbered lines or running text, in the order given."""
    texts = [_sentence(said.text, style) for said in statements]
    if style.numbered and len(texts) > 1 and style.voice != "dictation":
        mark = ")" if style.habit > 0.85 else "."
        joint = " " if style.habit < 0.3 else "\n"
        return _finish(joint.join(f"{number}{mark} {text}" for number, text in enumerate(texts, start=1)), style, draw)
    return _finish(" ".join(texts), style, draw)


def joined(sections: Sequence[tuple[str, str]], style: Style) -> str:
    """Return sections as one document, headed as this hand heads them."""
    parts = []
    for name, text in sections:
        head = {"upper": name.upper(), "title": name.capitalize(), "lower": name}[style.heading]
        parts.append(f"{head}:{' ' if style.habit < 0.8 else chr(10)}{text}")
    return ("\n\n" if style.habit < 0.7 else "\n").join(parts)


def _sentence(text: str, style: Style) -> str:
    if style.voice == "dictation":
        return f"{text}." if style.habit >= 0.5 else text
    end = "" if text[-1] in ".?" else "."
    text = fix_articles(text)
    return text[0].upper() + text[1:] + end


def _organ_line(system: str, texts: list[str], style: Style) -> str:
    heads = _LINE_HEADS[system]
    sentences = " ".join(_sentence(text, style) for text in texts)
    if style.checklist and ": " in texts[0]:
        return "\n".join(_sentence(text, style) for text in texts)
    return f"{heads[int(style.habit * len(heads))]}: {sentences}"


def _finish(text: str, style: Style, draw: Draw) -> str:
    text = fix_articles(text)
    if style.abbreviates:
        text = _TERM.sub(lambda found: _SHORT[found[0]] if draw.chance(_SHORTENED) else found[0], text)
    if style.careless:
        text = _mistype(text, draw)
    return text.upper() if style.capitals else text


def _mistype(text: str, draw: Draw) -> str:
    """Swap, drop or double letters inside a few long words."""
    for _ in range(draw.weighted(_ERRORS)):
        words = list(_LONG_WORD.finditer(text))
        if not words:
            return text
        word = draw.pick(words)
        at = word.start() + 1 + int(draw.random() * (len(word[0]) - 3))
        kind = draw.pick(("swap", "drop", "double"))
        if kind == "swap":
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        else:
            text = text[:at] + (text[at] * 2 if kind == "double" else "") + text[at + 1 :]
    return text
