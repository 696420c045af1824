"""People's and models' texts, shown as they are: nothing in them is Markdown, HTML or a formula."""

import html
import re

from tasks.texts import inert

# Everything that Streamlit's Markdown reads as more than a character: emphasis, links, code, HTML, formulas in $,
# colors and icons between colons, headings, lists, tables, strikethrough.
MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|$~:=&^])")
# Characters that turn the direction of what follows, or are not seen at all, could make a text read as another one.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def escaped(text: str) -> str:
    """A text for `st.markdown`, `st.write`, labels and messages: it is drawn as typed, with its line breaks."""
    shown = MARKDOWN.sub(r"\\\1", visible(text))
    # A single line break of Markdown is a blank, and blanks at the start of a line make code of it.
    return re.sub(r"\n[ \t]*", "  \n", shown).strip(" \t")


def escaped_html(text: str) -> str:
    """A text for `st.html`, with its line breaks."""
    return html.escape(visible(text), quote=True).replace("\n", "<br>")


def visible(text: str) -> str:
    """A text with a mark for each control character, and without lone surrogates, which no page can hold.

    Every kind of line break becomes a newline.
    """
    lines = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    return CONTROLS.sub("\ufffd", lines)


def inert_cell(value: object) -> object:
    """A cell for CSV: numbers as they are, and texts so that no spreadsheet takes them for a formula."""
    return inert(value) if isinstance(value, str) else value
