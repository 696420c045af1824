"""Sentences: real texts divided as people divide them; parts make up the text again."""

import random
from pathlib import Path

import pytest

from tasks.segmentation import divide, sentences

DIVIDED_BY_HAND = (Path(__file__).parent / "data" / "sentences.txt").read_text(encoding="utf-8")
LEAST_RIGHT = 0.98


def test_real_texts_are_divided_as_people_divide_them() -> None:
    right, wrong, kinds = 0, [], set()
    for sample in DIVIDED_BY_HAND.split("\n== ")[1:]:
        kind, _, text = sample.partition("\n")
        expected = [sentence.strip() for sentence in text.split("|")]
        found = [sentence.strip() for sentence in sentences(text.replace("|", ""))]
        right += sum(sentence in found for sentence in expected)
        wrong += [sentence for sentence in expected if sentence not in found]
        kinds.add(kind)
    assert kinds == {"abbreviations", "dialogue", "mail", "news", "recipes", "wrapped"}
    assert right + len(wrong) >= 60
    assert right / (right + len(wrong)) >= LEAST_RIGHT, wrong


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ('He said "No." Then left.', ['He said "No." ', "Then left."]),
        ("no end", ["no end"]),
        ("a line\nanother\n\nlast", ["a line\nanother\n\n", "last"]),
        ("你好。再见！好", ["你好。", "再见！", "好"]),
        ("3.14 is pi", ["3.14 is pi"]),
        ("It is Tuesday.The bridge is closed.", ["It is Tuesday.", "The bridge is closed."]),
        ("Add 1 tsp. of salt. Add 1 tsp.\n\nthen stir.", ["Add 1 tsp. of salt. ", "Add 1 tsp.\n\n", "then stir."]),
        ("At 5 p.m. EDT it rang. At 5 p.m. They left.", ["At 5 p.m. EDT it rang. ", "At 5 p.m. ", "They left."]),
        ('"Why?" I asked. "No!" She left.', ['"Why?" I asked. ', '"No!" ', "She left."]),
        ('"Stop!" Ann said. "Stop!" She said no.', ['"Stop!" Ann said. ', '"Stop!" ', "She said no."]),
        ("Add 1 tsp.\r\n\r\n2 eggs.", ["Add 1 tsp.\r\n\r\n", "2 eggs."]),
        ("1. Stir the mix. 2. Bake it.", ["1. Stir the mix. ", "2. Bake it."]),
        ("He is 12. She is 10.", ["He is 12. ", "She is 10."]),
        ("See eq. 7 in Rm. 12 of Ft. Worth.", ["See eq. 7 in Rm. 12 of Ft. Worth."]),
        ("It fell on Feb. 29. They flew.", ["It fell on Feb. 29. ", "They flew."]),
        ("Call ext. 12. We are open.", ["Call ext. 12. ", "We are open."]),
        (
            "Can you send it by Fri. at the latest? I hope so.",
            ["Can you send it by Fri. at the latest? ", "I hope so."],
        ),
        ("hello there. how are you? i am fine.", ["hello there. ", "how are you? ", "i am fine."]),
        ("It is on eBay. eBay sells it.", ["It is on eBay. ", "eBay sells it."]),
        ("Use ASP.NET, open Mon.-Fri., as said.", ["Use ASP.NET, open Mon.-Fri., as said."]),
        ('"What now?" Mayor Lopez asked. She left.', ['"What now?" Mayor Lopez asked. ', "She left."]),
        ("Bake at 350°F. Mix the rest, etc. Serve.", ["Bake at 350°F. ", "Mix the rest, etc. ", "Serve."]),
        ("He took pens, etc. and left.", ["He took pens, etc. and left."]),
        ('"Bring pens, etc. Serve it." She left.', ['"Bring pens, etc. Serve it." ', "She left."]),
        ("Call at 5 p.m. Bring wine.", ["Call at 5 p.m. ", "Bring wine."]),
        ("It is in Apt. 4 of Bldg. C. Knock twice.", ["It is in Apt. 4 of Bldg. C. ", "Knock twice."]),
        ("It is so?? I know.", ["It is so?? ", "I know."]),
        ("", []),
        (" \n", [" \n"]),
    ],
)
def test_sentences_end_where_they_end(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected
    assert "".join(sentences(text)) == text


def test_parts_fit_are_of_about_equal_length_and_make_up_the_text() -> None:
    chance = random.Random(0)
    for _ in range(200):
        words = ["a", "long", "sentence", "x" * 30, "end.", "really?", "\n", "\n\n\n", "  ", "好。", "tsp.", '"No!"']
        text = " ".join(chance.choice(words) for _ in range(chance.randint(1, 120)))
        room = chance.randint(3, 60)
        parts = divide(text, room, len)
        assert "".join(parts) == "".join(sentences(text)) == text
        assert all(0 < len(part) <= room for part in parts)
        assert len(parts) == 1 or len(parts) <= 4 * -(-len(text) // room)


def test_a_text_is_divided_between_sentences_where_it_can_be() -> None:
    text = "One two three. Four five six. Seven eight. Nine ten."
    assert divide(text, 30, len) == ["One two three. Four five six. ", "Seven eight. Nine ten."]
    assert divide(text, 1000, len) == [text]
    assert divide("word " * 10, 12, len) == ["word word "] * 5
