"""Markdown by people and models: drawn as far as it is harmless."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ui.plain import escaped
from ui.rich_text import LONGEST, rich

# As Streamlit's parser, and it takes HTML and images.
DRAWS = MarkdownIt("gfm-like", {"html": True, "linkify": False})
DRAWS.validateLink = lambda url: True  # type: ignore[method-assign]


def tokens(text: str) -> list[Token]:
    """All that Streamlit finds in what it is given."""
    return [part for token in DRAWS.parse(rich(text)) for part in (token, *(token.children or []))]


def kinds(text: str) -> list[str]:
    return [token.type for token in tokens(text)]


def assert_harmless(text: str) -> None:
    for token in tokens(text):
        assert token.type not in ("html_block", "html_inline", "image"), rich(text)
        if token.type == "link_open":
            assert str(token.attrs["href"]).lower().startswith(("http://", "https://", "mailto:")), rich(text)
        if token.type == "fence":
            assert "mermaid" not in token.info.lower()


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<!-- --><iframe src='https://evil.example'>",
        "![a](https://evil.example/x.png)",
        "![a][1]\n\n[1]: https://evil.example/x.png",
        "[![a](https://evil.example/x.png)](javascript:alert(1))",
        "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](<java\tscript:x>) [d](&#106;avascript:x)",
        "[a](data:text/html;base64,PHNjcmlwdD4=) [b](vbscript:x) [c](file:///etc/passwd) [d](//evil.example)",
        '<javascript:alert(1)> [a](https://x.example/"onmouseover=alert(1)) [b](<https://x/>)<img>',
        "`a` `<b>` ``` ![a](https://x) ```",
        "```\n```\n![a](https://x)",
        "````\n```\n![a](https://x)\n````",
        "- ```\n  x\n![a](https://x)",
        "> ```\n![a](https://x)",
        "~~~ `![a](https://x)`\n~~~",
        '```mermaid\nclick A "javascript:alert(1)"\n```\n~~~ MERMAID x\n~~~',
        "$`![a](https://x)`$ $$\n$$ ![a](https://x) $$",
        "\\[\n![a](https://x)\n\\]\n\\(![a](https://x)\\)",
        "| a |\n|---|\n| `\\` | ![a](https://x) |\n",
        "&lt;img src=x&gt; &#10;&#10;![a](https://x) &#60;b&#62;",
        "1. <b>\n   1) ![a](https://x)\n\n      > <i>",
        "a\\\n<b>\\<i>",
        ":red[x] :material/home: :streamlit: :rainbow[![a](https://x)] :blue-badge[x]",
    ],
)
def test_nothing_runs_or_loads(text: str) -> None:
    assert_harmless(text)


HARMFUL = """``` ~~~ $$ ![a](https://x/y.png) [a](javascript:x) <img/src=x> <b> https://x \\( \\) \\[ \\] &lt; &#10;"""
SPECIAL = st.sampled_from(
    [
        *"`*_~$[]()<>!|#-+=\\:& '{}/a1\n\t\r\x00\u2028\u202e\u05d0",
        *HARMFUL.split(" "),
        *("\n\n", "    ", "- ", "> ", "1. ", "| a |\n|---|\n| ", "](", "mermaid\n", '"', "\ud800"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SPECIAL, max_size=40).map("".join))
def test_nothing_runs_or_loads_whatever_is_put_together(text: str) -> None:
    assert_harmless(text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_any_characters_are_drawn(text: str) -> None:
    assert_harmless(text)


def test_what_is_meant_is_drawn() -> None:
    text = (
        "# Title\n\nSome **bold**, *slanted*, ~~struck~~ and `code`.\nNext line\n\n1. one\n   - inner\n2. two\n\n"
        "> quoted\n\n---\n\n[a link](https://x.example/a?b=c&d=e_f) <https://y.example>"
    )
    found = kinds(text)
    for kind in ("heading_open", "strong_open", "em_open", "s_open", "code_inline", "hardbreak", "ordered_list_open"):
        assert kind in found, kind
    for kind in ("bullet_list_open", "blockquote_open", "hr"):
        assert kind in found, kind
    links = [str(token.attrs["href"]) for token in tokens(text) if token.type == "link_open"]
    assert links == ["https://x.example/a?b=c&d=e_f", "https://y.example"]
    assert next(token.tag for token in tokens(text) if token.type == "heading_open") == "h2"


@pytest.mark.parametrize("code", ["print('*a*')\n\n\n<b> `x` ```\n    deep", "```", "a\\b | c", "$x$ :red[x]"])
def test_code_is_copied_as_it_was_written(code: str) -> None:
    for place, ends in (("{}", ""), ("- item\n\n  {}", ""), ("> {}", "")):
        inner = f"`````python\n{code}\n`````"
        lines = inner.split("\n")
        prefix = {"{}": "", "> {}": "> "}.get(place, "  ")
        text = place.format(("\n" + prefix).join(lines)) + ends
        fence = next(token for token in tokens(text) if token.type == "fence")
        assert (fence.content, fence.info) == (code + "\n", "python"), place
    if "`" not in code:
        assert next(token.content for token in tokens(f"so `{code}` is") if token.type == "code_inline") == code


def test_code_that_is_still_coming_is_code() -> None:
    assert kinds("Look:\n```python\nprint(1)") == kinds("Look:\n```python\nprint(1)\n```")
    assert "fence" in kinds("Look:\n```python\nprint(1)")


def test_a_table_keeps_its_cells() -> None:
    text = "| a | b |\n|:-:|--:|\n| `x\\|y` | p\\|q |\n| $\\|a\\|$ | **c** |"
    found = tokens(text)
    cells = [token.content for token in DRAWS.parse(rich(text)) if token.type == "inline"]
    assert cells[:2] == ["a", "b"] and cells[3].replace("\\", "") == "p|q"
    assert next(token.content for token in found if token.type == "code_inline") == "x|y"
    assert [token.attrs.get("style") for token in found if token.type == "th_open"] == [
        "text-align:center",
        "text-align:right",
    ]
    assert len([token for token in found if token.type == "tr_open"]) == 3


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $6",
        "It costs $5, or 6$ there",
        "US$5 and CA$6",
        "from $5-$10",
        "$5 each, so 3 cost 15$",
        "a $ b $ c",
        "$",
        "$$",
        "\\$5 and 6\\$",
        "echo $HOME and $PATH",
    ],
)
def test_money_is_no_formula(text: str) -> None:
    shown = rich(text)
    assert shown.replace("\\$", "").count("$") == 0, shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("so $x^2 + y_1$ is", "so $x^2 + y_1$ is"),
        ("so \\(x_1\\) is", "so $x_1$ is"),
        ("so $2x$ and $10$ are", "so $2x$ and $10$ are"),
        ("$$\nx = y\n$$", "$$\nx = y\n$$"),
        ("\\[\nx = y\n\\]", "$$\nx = y\n$$"),
        ("\\[ x = y \\]", "$$\n x = y \n$$"),
    ],
)
def test_formulas_are_drawn(text: str, shown: str) -> None:
    assert [line.strip() for line in rich(text).split("\n")] == [line.strip() for line in shown.split("\n")]


PAINTING = r"\href{javascript:x}{y} \includegraphics{x} \rule{9em}{9em} \def\a{\a}\a \kern9em \url{x} \htmlId{a}{b}"


@pytest.mark.parametrize("formula", [*PAINTING.split(" "), "x\\", "x" * 3000])
def test_formulas_that_link_load_or_paint_over_others_are_text(formula: str) -> None:
    for text in (f"a ${formula}$ b", f"\\({formula}\\)", f"$$\n{formula}\n$$"):
        shown = rich(text)
        assert "$$" not in shown and "$" not in shown.replace("\\$", ""), shown


def test_pictures_of_streamlits_own_are_not_drawn() -> None:
    shown = rich(":material/home: :streamlit: a:b")
    assert ":material" not in shown and ":streamlit:" not in shown and "a\\:b" in shown


def test_right_to_left_and_zalgo_stay_text() -> None:
    zalgo = "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢"
    for text in ("שלום **עולם** مرحبا", zalgo, zalgo * 500):
        assert_harmless(text)
    assert "**עולם**" in rich("שלום **עולם**")
    assert "\u202e" not in rich("a\u202eb")


HARD = ("[", "![", "*_", "**a *b ", "$a ", "> ", "- ", "<a ", "[a](", "\\(", "\\[\n", "a\n", "|a|b|\n|-|-|\n", "`` ` ")


@pytest.mark.parametrize("piece", HARD)
def test_long_texts_do_not_keep_a_page_waiting(piece: str) -> None:
    started = time.process_time()
    assert rich(piece * (LONGEST // len(piece)))
    # A second or two here; a parser that tries every bracket against every other one takes minutes.
    assert time.process_time() - started < 60


def test_a_megabyte_is_shown_as_it_was_typed() -> None:
    long = "*a* [b](https://x)\n" * 55_000
    assert rich(long) == escaped(long)


def test_a_text_that_is_nested_too_deep_is_shown_whole() -> None:
    for text in (">" * 200 + " deep", "".join("  " * depth + "- x\n" for depth in range(200)), "*a **b " * 200):
        assert_harmless(text)
    assert "deep" in rich(">" * 200 + " deep")
