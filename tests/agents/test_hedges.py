import pytest

from teachback.agents.hedges import asserted
from teachback.store.label import Evidence


@pytest.mark.parametrize(
    ("phrase", "quote", "text", "status", "cue"),
    [
        ("pneumonia", "likely pneumonia", "Right basal opacity, likely pneumonia.", "uncertain", "likely"),
        ("pneumonia", "possible pneumonia", "Opacity, possible pneumonia.", "uncertain", "possible"),
        ("sarcoidosis", "sarcoidosis", "Adenopathy, cannot exclude sarcoidosis.", "uncertain", "cannot exclude"),
        ("pneumonia", "pneumonia", "Pneumonia cannot be excluded.", "uncertain", "cannot be excluded"),
        ("lymphoma", "lymphoma", "This may represent sarcoidosis or lymphoma.", "uncertain", "may represent"),
        ("copd", "COPD", "Hyperexpanded lungs suggesting COPD.", "uncertain", "suggesting"),
        ("osteopenia", "Osteopenia", "Osteopenia?", "uncertain", "?"),
        (
            "pulmonary fibrosis",
            "pulmonary fibrosis",
            "There is no evidence of pulmonary fibrosis.",
            "absent",
            "no evidence of",
        ),
        ("dissection", "No aortic aneurysm or dissection", "No aortic aneurysm or dissection.", "absent", "No"),
        ("tuberculosis", "Tuberculosis", "Tuberculosis is unlikely.", "absent", "is unlikely"),
        ("pneumonia", "pneumonia", "The pneumonia has resolved.", "absent", "has resolved"),
        ("pneumonia", "pneumonia", "There was a left pneumonia. It has cleared.", "absent", "has cleared"),
        ("resolved pneumonia", "resolved pneumonia", "Changes of resolved pneumonia.", "absent", "resolved"),
        ("lung cancer", "lung cancer", "History of lung cancer.", "unmentioned", "History of"),
        ("malignancy", "malignancy", "Recommend CT to exclude malignancy.", "unmentioned", "Recommend"),
        ("pneumonia", "pneumonia", "CT if pneumonia is suspected.", "unmentioned", "if pneumonia is suspected"),
        ("scoliosis", "scoliosis", "Mild scoliosis of the thoracic spine.", "present", ""),
        ("emphysema", "emphysema", "Findings consistent with emphysema.", "present", ""),
        ("left effusion", "left effusion", "No change in the left effusion.", "present", ""),
        ("small left effusion", "small left effusion", "No pneumothorax, small left effusion.", "present", ""),
        # quoted in few words: what is asserted further on decides
        ("pleural effusion", "pleural effusion", "No right pleural effusion. Left pleural effusion.", "present", ""),
        # named in other words than quoted: the word they share decides
        ("right lower lobe infection", "may be infection", "Opacity may be infection.", "uncertain", "may be"),
        ("COPD", "emphysematous changes", "Emphysematous changes.", "present", ""),
    ],
)
def test_a_disease_has_the_status_that_the_words_around_it_give(phrase, quote, text, status, cue):
    said, evidence = asserted(phrase, quote, [("findings", text)])
    assert (said, [span.cue for span in evidence]) == (status, [cue])
    assert text[evidence[0].start : evidence[0].end].lower() == quote.lower()


def test_the_place_that_asserts_is_the_evidence():
    _, (span,) = asserted("effusion", "effusion", [("findings", "No right effusion. Left effusion.")])
    assert (span.start, span.end) == (24, 32)


def test_a_quote_that_is_not_in_the_report_is_judged_by_its_own_words_and_stays_ungrounded():
    sections = [("findings", "Clear lungs.")]
    assert asserted("gout", "possible gout", sections) == (
        "uncertain",
        (Evidence("", -1, -1, "possible gout", "possible"),),
    )
    assert asserted("gout", "gout", sections)[0] == "present"


def test_without_a_quote_the_phrase_is_looked_for():
    assert asserted("edema", "", [("findings", "No edema.")]) == ("absent", ())
    assert asserted("gout", "", [("findings", "No edema.")]) == ("present", ())
