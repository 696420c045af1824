"""Words are left out whole, in groups where there are many, with one of the spaces around them."""

import pytest

from tasks.words_left_out import left_out, parts_to_leave_out


def test_parts_are_words_with_their_apostrophes_and_hyphens_and_marks() -> None:
    text = "It’s a well-made film, isn't it?! 😀 好片"
    parts = [text[start:end] for start, end in parts_to_leave_out(text)]
    assert parts == ["It’s", "a", "well-made", "film", ",", "isn't", "it", "?!", "😀", "好", "片"]
    assert parts_to_leave_out(" \n") == []


@pytest.mark.parametrize(("words", "together"), [(64, 1), (65, 2), (128, 2), (129, 3), (1000, 16)])
def test_many_words_are_left_out_in_groups_of_neighbors(words: int, together: int) -> None:
    text = " ".join(f"w{number}" for number in range(words))
    parts = [text[start:end].split() for start, end in parts_to_leave_out(text)]
    assert len(parts) <= 64 and {len(part) for part in parts[:-1]} == {together}
    assert [word for part in parts for word in part] == text.split()


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("a", "good, short film (1999)"),
        ("good", "a, short film (1999)"),
        (",", "a good short film (1999)"),
        ("film", "a good, short (1999)"),
        ("1999", "a good, short film ()"),
    ],
)
def test_a_word_is_left_out_with_one_of_the_spaces_around_it(word: str, left: str) -> None:
    text = "a good, short film (1999)"
    start = text.index(word)
    assert left_out(text, start, start + len(word)) == left
    assert left_out("one two", 4, 7) == "one" and left_out("one", 0, 3) == ""
