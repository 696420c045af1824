"""Dropped files as text, and those that give none."""

import io
import sys
import zipfile
import zlib
from typing import Any

import pytest

from tests.support.documents import BODY, encrypted, pdf, repacked, word
from ui.conversations.conversation import Message, shortened
from ui.documents import extraction
from ui.documents.extraction import MACROS, MOST_CHARACTERS, NoTextError, docx_parts, joined, pdf_parts
from ui.documents.field import passages
from ui.documents.reading import DocumentError, read_document

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.txt", "Grüße\r\n\u202e".encode(), "Grüße\n\u202e"),
        ("A.MD", b"\xef\xbb\xbf# Hi", "# Hi"),
        ("a.txt", "ה".encode("utf-16"), "ה"),
        ("a.pdf", pdf(["One (1)", "Two"]), "One (1)\n\nTwo"),
        ("a.pdf", encrypted(pdf(["Open to all"]), ""), "Open to all"),
        ("a.docx", word("First", "", "Second", table=[["a", "b"], ["c", "d"]]), "First\n\nSecond\n\na | b\n\nc | d"),
    ],
)
def test_the_text_of_a_document_is_read(name: str, content: bytes, text: str) -> None:
    document = read_document(f"../x/{name}", content)
    assert (document.name, document.text, list(document.notes)) == (name, text, [])


def test_letters_of_another_encoding_are_read_with_a_word_about_it() -> None:
    document = read_document("a.txt", "Grüße".encode("latin-1"))
    assert document.text == "Grüße" and "not UTF-8" in document.notes[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.exe", b"MZ", r"a\.exe cannot be read; valid: txt, md, pdf, docx"),
        ("", b"x", "document cannot be read"),
        ("a.txt", b" \n", r"a\.txt is empty"),
        ("a.txt", b"a\0b", r"a\.txt is no text"),
        ("a.txt", b"x" * 20_000_001, r"a\.txt has 20 MB; valid: at most 20"),
        ("a.pdf", b"hello", r"a\.pdf is no PDF file"),
        ("a.docx", pdf(["x"]), r"a\.docx is no DOCX file"),
        ("a.pdf", encrypted(pdf(["x"]), "secret"), r"a\.pdf is encrypted; valid: a PDF without a password"),
        ("a.pdf", pdf([""]), r"a\.pdf has no text: it is scanned"),
        ("a.pdf", b"%PDF-1.4 broken", r"a\.pdf is damaged"),
        ("a.docx", b"PK\x03\x04 broken", r"a\.docx is damaged"),
    ],
)
def test_what_gives_no_text_is_said_in_a_line(name: str, content: bytes, said: str) -> None:
    with pytest.raises(DocumentError, match=said) as error:
        read_document(name, content)
    assert "\n" not in str(error.value)


def test_a_bomb_in_a_pdf_ends_nothing_but_its_reader() -> None:
    squeezer = zlib.compressobj(9)
    bomb = b"".join(squeezer.compress(b"\0" * 10**7) for _ in range(60)) + squeezer.flush()
    with pytest.raises(DocumentError, match=r"a\.pdf (is damaged|takes too|has no text)"):
        read_document("a.pdf", pdf(["x"], bomb))


def test_a_bomb_in_a_word_file_is_not_unpacked() -> None:
    out = io.BytesIO(word("x"))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/media/image.png", b"\0" * 101_000_000)
    with pytest.raises(NoTextError, match="unpacks to more than 100 MB"):
        next(docx_parts(out.getvalue()))


def test_entities_of_xml_are_not_unfolded() -> None:
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + depth, b"&%c;" % (97 + depth) * 10) for depth in range(9)
    )
    opening = b"<?xml version='1.0' encoding='UTF-8' standalone='yes'?>"
    content = repacked(word("LAUGH"), {BODY: (b"LAUGH", b"&j;")})
    content = repacked(content, {BODY: (opening, opening + laughs + b"]>")})
    with pytest.raises(DocumentError, match=r"a\.docx is damaged"):
        read_document("a.docx", content)


@pytest.mark.parametrize("kind", [DOCX, MACROS])
def test_macros_are_left_alone(kind: str) -> None:
    content = repacked(word("Only text"), {"[Content_Types].xml": (DOCX.encode(), kind.encode())})
    content = repacked(content, **{"vbaProject.bin": b"Sub AutoOpen()"})
    assert list(docx_parts(content)) == ["Only text"]


def test_five_hundred_pages_are_read_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "CPU_S", 1e9)  # of the whole process, which has run other tests
    content = pdf([f"Page {number} " + "word " * 20 for number in range(500)])
    text, notes = joined(pdf_parts(content))
    assert "Page 499" in text and notes == []
    monkeypatch.setattr(extraction, "MOST_CHARACTERS", 1_000)
    text, notes = joined(pdf_parts(content))
    assert len(text) == 1_000 and notes == ["Only its first 1,000 characters were read."]


def test_what_takes_too_long_is_cut_with_a_word_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "CPU_S", -1.0)
    assert joined(iter(["a", "b"])) == ("a", ["Only its first 1 parts were read: the others would take too long."])


def test_a_long_text_is_cut_with_a_word_about_it() -> None:
    document = read_document("a.md", b"x" * (MOST_CHARACTERS + 1))
    assert len(document.text) == MOST_CHARACTERS and "first 200,000 characters" in document.notes[0]


def test_a_reader_that_dies_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DocumentError, match="takes too long, or too much memory"):
        read_document("a.pdf", pdf(["x"]))


def test_documents_are_cut_to_the_models_window() -> None:
    def message(*documents: dict[str, Any]) -> Message:
        return Message("user", "What?", documents=documents)

    document = {"name": "a.txt", "text": "x" * 10_000, "notes": [], "used": None}
    cut = shortened(message(document), tokens=4_000, room=1_000)
    assert cut is not None and cut.documents[0]["used"] == 2_375 and len(cut.text()) < 2_400
    again = shortened(cut, tokens=2_000, room=1_000)
    assert again is not None and again.documents[0]["used"] == 1_128
    assert shortened(message(), 4_000, 1_000) is None
    assert shortened(message(document), 900, 1_000) is None
    assert shortened(message({**document, "text": "short"}), 4_000, 1_000) is None


def test_answers_from_several_documents_are_shown_in_their_passages_best_first(tool, page) -> None:
    app = page("tasks")
    app.selectbox(key="tasks-task").set_value("question-answering").run()
    box = app.file_uploader(key="tasks-question-answering-context-document")
    box.set_value(
        [
            ("rivers.md", b"The bridge is old.\n\nIts repair costs three million euros.", "text/markdown"),
            ("letter.docx", word("Dear Ada", "The mayor paid two hundred thousand euros."), "application/docx"),
            ("broken.pdf", b"%PDF-1.4 broken", "application/pdf"),
        ]
    ).run()
    context = app.text_area(key="tasks-question-answering-context").value
    assert context.startswith("=== rivers.md ===\nThe bridge is old.") and "=== letter.docx ===\nDear Ada" in context
    assert [one.value for one in app.error] == ["broken\\.pdf is damaged \\(PdfStreamError\\)\\."]
    app.text_input(key="tasks-question-answering-question").set_value("How much?").run()
    app.button(key="tasks-question-answering-run").click().run()
    answers = app.session_state["history"][0].result["answers"]
    assert len(answers) == 3 and sorted((one["score"] for one in answers), reverse=True) == [
        one["score"] for one in answers
    ]
    places = [one for one in app.caption if "passage" in one.value]
    assert len(places) == sum(one["end"] > one["start"] for one in answers)


def test_passages_are_paragraphs_counted_in_their_documents() -> None:
    text = "Before\n\n=== a.txt ===\nOne\nstill one\n \nTwo\n\n=== b.pdf ===\n\nThree"
    found = passages(text)
    assert [(one.document, one.number) for one in found] == [("", 1), ("a.txt", 1), ("a.txt", 2), ("b.pdf", 1)]
    assert [text[one.start : one.end].rstrip("\n") for one in found] == ["Before", "One\nstill one", "Two", "Three"]
    answer = {"answer": "Two", "score": 0.5, "start": text.index("Two"), "end": text.index("Two") + 3}

    def draw(text: str, answer: dict) -> None:
        from ui.panels import panel

        panel("question-answering").draw({"context": text}, {"answers": [answer]}, "key")

    from streamlit.testing.v1 import AppTest

    app = AppTest.from_function(draw, args=(text, answer)).run()
    assert [one.value for one in app.caption] == [r"a\.txt, passage 2 of 2"]
    assert ">Two</mark></p>" in app.get("html")[0].proto.body
