import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.store.report import SCOPES, SECTIONS, Report, Scope

FINDINGS, IMPRESSION, TEXT = "Lungs are clear.", "No acute disease.", "HISTORY: cough.\n\nLungs clear.\n\nNo disease."


@pytest.mark.parametrize(
    ("sections", "scope", "expected"),
    [
        ({"findings": FINDINGS, "impression": IMPRESSION}, "impression", [("impression", IMPRESSION)]),
        (
            {"findings": FINDINGS, "impression": IMPRESSION},
            "full",
            [("findings", FINDINGS), ("impression", IMPRESSION)],
        ),
        ({"findings": FINDINGS, "impression": IMPRESSION}, "mimic", [("impression", IMPRESSION)]),
        ({"findings": FINDINGS}, "impression", []),
        ({"findings": FINDINGS}, "full", [("findings", FINDINGS)]),
        ({"findings": FINDINGS}, "mimic", [("findings", FINDINGS)]),
        ({"findings": FINDINGS, "text": TEXT}, "full", [("findings", FINDINGS)]),
        ({"text": TEXT}, "full", [("text", TEXT)]),
        ({"text": TEXT}, "impression", []),
        ({"text": TEXT}, "mimic", [("text", "No disease.")]),
        ({"impression": " \n ", "findings": FINDINGS}, "mimic", [("findings", FINDINGS)]),
        ({"indication": "Cough."}, "full", []),
        ({"indication": "Cough."}, "mimic", []),
        ({}, "full", []),
    ],
)
def test_a_scope_takes_the_sections_that_it_names(
    sections: dict[str, str], scope: Scope, expected: list[tuple[str, str]]
) -> None:
    assert Report("r", "c", sections).scoped(scope) == expected


def test_one_section_is_read_plainly_and_two_are_headed() -> None:
    report = Report("r", "c", {"findings": f" {FINDINGS}\n", "impression": IMPRESSION})
    assert report.text("impression") == IMPRESSION
    assert report.text("full") == f"FINDINGS: {FINDINGS}\nIMPRESSION: {IMPRESSION}"
    assert Report("r", "c", {"text": TEXT}).text("impression") == ""


@given(st.dictionaries(st.sampled_from(SECTIONS), st.text(max_size=40)), st.sampled_from(SCOPES))
def test_a_scope_quotes_the_report_and_is_never_blank(sections: dict[str, str], scope: Scope) -> None:
    for name, text in Report("r", "c", sections).scoped(scope):
        assert text.strip()
        assert text in sections[name]
