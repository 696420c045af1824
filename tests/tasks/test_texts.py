"""Texts before any model: faults are found, words are counted, formulas are made inert."""

import pytest

from tasks.texts import MAX_TEXT_BYTES, count_words, inert, text_fault


@pytest.mark.parametrize(
    "text",
    ["", " ", "a", "😀", "שלום עולם", "مرحبا", "e\u0301", "\u200b", "\x1b", "a" * MAX_TEXT_BYTES, "\ufffd", "\n"],
)
def test_what_people_write_has_no_fault(text: str) -> None:
    assert text_fault(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a" * (MAX_TEXT_BYTES + 1), "has 1048577 characters"),
        ("é" * (MAX_TEXT_BYTES // 2 + 1), "has 1048578 bytes"),
        ("ab\0c", "has a NUL at character 3"),
        ("ab\ud83d", "has half of a surrogate pair at character 3"),
        ("\udc00", "has half of a surrogate pair at character 1"),
    ],
    ids=lambda value: value[:20].encode(errors="replace").decode(),
)
def test_what_no_model_shall_see_is_said(text: str, fault: str) -> None:
    assert text_fault(text) == fault


@pytest.mark.parametrize(("text", "words"), [("", 0), ("It's a dog's life.", 4), ("😀", 0), ("привет мир", 2)])
def test_words_are_counted(text: str, words: int) -> None:
    assert count_words(text) == words


UNSEEN = [
    "", " ", "\u3000", "\0", "\x1b", "\x7f", "\xad", "\u200b", "\u200e", "\u2060", "\ufeff", "\ufffd", "\ufe0f",
    "\u2800", "\U000e0020",
]  # fmt: skip


@pytest.mark.parametrize("sign", "=+-@＝＋－＠﹦﹢﹣﹫−⁼")
def test_what_a_spreadsheet_would_run_is_made_inert(sign: str) -> None:
    for unseen in (*UNSEEN, "".join(UNSEEN)):
        text = f"{unseen}{sign}1+1"
        assert inert(text) == f"'{text}", ascii(text)
        for end in ";\t\r\n":
            assert inert(f"a{end}{text}") == f"a{end}{unseen}'{sign}1+1", ascii(text)
            assert inert(f'a{end}"{text}') == f"a{end}\"{unseen}'{sign}1+1", ascii(
                text
            )  # CSV doubles it: an empty text
    assert all(inert(f"{start}{sign}1").startswith("'") for start in ("\t", "\r\n", "\n \n"))


@pytest.mark.parametrize(
    "text", ["", " ", "a=1", "1-2", "fine", "'=1", "a;- b", "a\n- b", "a;b", "\u200bword", "a@b", "é"]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert inert(text) == text


@pytest.mark.parametrize("part", ["\n", " ", ";", "\t ", "\u200b\n"])
def test_a_text_of_nothing_that_can_be_seen_does_not_hold_the_export_up(part: str) -> None:
    # Half a million of them took the square of that before.
    assert inert("a" + part * 500_000) == "a" + part * 500_000
