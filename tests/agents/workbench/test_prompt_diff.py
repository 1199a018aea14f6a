from hypothesis import given
from hypothesis import strategies as st

from teachback.agents.workbench.prompt_diff import DiffLine, diff_prompts, diff_words
from teachback.prompts import Prompt, load_prompt, parse_prompt

DEFAULT = load_prompt("llm_labeler")


def edited(*changes: tuple[str, str]) -> Prompt:
    text = DEFAULT.text
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return parse_prompt(text, "llm_labeler", "edited")


def changed(line: DiffLine) -> list[str]:
    return [word.text for word in line.words if word.changed]


@given(st.text(alphabet="ab \n.", max_size=30), st.text(alphabet="ab \n.", max_size=30))
def test_words_join_to_both_passages(a: str, b: str) -> None:
    old, new = diff_words(a, b)
    assert ("".join(word.text for word in old), "".join(word.text for word in new)) == (a, b)
    if a == b:
        assert not any(word.changed for word in (*old, *new))


def test_a_prompt_does_not_differ_from_itself() -> None:
    assert diff_prompts(DEFAULT, DEFAULT).is_empty


def test_settings_come_apart_from_the_body() -> None:
    diff = diff_prompts(DEFAULT, edited(("temperature: 0", "temperature: 0.7"), ("  max_tokens: 2000\n", "")))
    assert [(change.name, change.a, change.b) for change in diff.settings] == [("parameters.temperature", "0.0", "0.7")]
    assert not diff.hunks


def test_changed_words_are_marked_with_the_lines_of_the_file() -> None:
    diff = diff_prompts(DEFAULT, edited(("You do not diagnose", "You never diagnose")))
    lines = [line for hunk in diff.hunks for line in hunk.lines if line.place != "same"]
    assert [(line.place, changed(line)) for line in lines] == [("removed", ["do not"]), ("added", ["never"])]
    assert DEFAULT.text.splitlines()[lines[0].number - 1] == lines[0].text


def test_inserted_and_deleted_lines_keep_their_numbers() -> None:
    after = edited(("### Evidence\n", "### Evidence\nQuote it.\n"))
    (added,) = [line for hunk in diff_prompts(DEFAULT, after).hunks for line in hunk.lines if line.place != "same"]
    assert (added.place, added.text) == ("added", "Quote it.")
    assert after.text.splitlines()[added.number - 1] == "Quote it."
    (removed,) = [line for hunk in diff_prompts(after, DEFAULT).hunks for line in hunk.lines if line.place != "same"]
    assert (removed.place, removed.text, removed.number) == ("removed", "Quote it.", added.number)
    assert diff_prompts(DEFAULT, after).as_dict()["lines"][0]["text"] == "Quote it."
