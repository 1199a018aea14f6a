from hypothesis import given
from hypothesis import strategies as st

from teachback.agents.workbench.flipped import Span, cut
from teachback.store.label import FINDINGS

SPANS = st.lists(
    st.builds(Span, st.integers(-2, 12), st.integers(-2, 12), st.sampled_from("ab"), st.sampled_from(FINDINGS[:3])),
    max_size=6,
)


@given(st.text(max_size=10), SPANS)
def test_pieces_join_to_the_text_and_each_knows_its_evidence(text: str, spans: list[Span]) -> None:
    pieces = cut(text, spans)
    assert "".join(piece.text for piece in pieces) == text
    at = 0
    for piece in pieces:
        covering = {s for s in spans if 0 <= s.start <= at and at + len(piece.text) <= s.end <= len(text)}
        assert set(piece.spans) == covering
        at += len(piece.text)


def test_overlapping_evidence_by_hand() -> None:
    pieces = cut("small effusion", [Span(0, 14, "a", "Pleural Effusion"), Span(6, 14, "b", "Edema")])
    assert [(piece.text, piece.sides) for piece in pieces] == [("small ", "a"), ("effusion", "ab")]
    assert pieces[1].findings == ("Edema", "Pleural Effusion")
