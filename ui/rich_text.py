"""Markdown of people and models, as Markdown that Streamlit may draw: nothing in it is HTML or loads automatically.

The text is parsed, and what was found is written anew, with every character of its own escaped: what Streamlit's parser
sees as structure was put there here. No Streamlit here.
"""

import re
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.tree import SyntaxTreeNode as Node
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.texmath import texmath_plugin

from ui.plain import MARKDOWN, escaped, visible

# Longer texts, and paragraphs with more brackets, are shown plain: no page waits for their parser.
LONGEST = 20_000  # characters
MOST_BRACKETS = 300
DEEPEST = 40  # lists in lists, quotes in quotes
LONGEST_FORMULA = 2_000
DEEPEST_HEADING = 6
LINK = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20\x7f]+", re.IGNORECASE)
LANGUAGE = re.compile(r"[A-Za-z0-9+#_.-]{1,30}")
DRAWN = ("mermaid",)  # code that Streamlit would draw; what it draws may load
MARKS = {"strong": "**", "em": "*", "s": "~~"}
BRACKETS = re.compile(r"\[|\\\(")
# What Streamlit makes pictures of, also where it is escaped.
ICON = re.compile(r"\\:(?=material\\?[/_]|streamlit\\:)")
# "$5 and 6$": a number followed by a word is a price.
PRICE = re.compile(r"\s*\d.*(?<![\\A-Za-z])[A-Za-z]{2,}", re.DOTALL)
# Commands of TeX that link, load, define, or paint over what is around them.
NO_FORMULA = re.compile(
    r"\\(?:href|url|include|html|rule|[a-z]*kern|[a-z]*skip|hspace|vspace|raisebox|[a-z]*lap|smash"
    r"|[a-z]*def|let|futurelet|newcommand|renewcommand|providecommand|char)"
)


@lru_cache(maxsize=256)
def rich(text: str) -> str:
    """A message for `st.markdown`: its code, lists, tables, emphasis, formulas and links, and nothing else.

    Images are links; links lead to http, https or mail; HTML is text. A line break stays one. A text of more than
    20,000 characters, or nested more than 40 deep, is drawn as it was typed.
    """
    if len(text) > LONGEST:
        return escaped(text)
    tokens = _parser().parse(visible(text))
    if any(token.level >= DEEPEST for block in tokens for token in (block, *(block.children or ()))):
        return escaped(text)
    return _blocks(Node(tokens))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 2 * DEEPEST}).enable(["table", "strikethrough"])
    # A line of dashes is a rule, and the lines above it are no heading; references are for books.
    parser.disable(["lheading", "reference"])
    parser.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True, allow_labels=False)
    parser.use(texmath_plugin, delimiters="brackets")
    parser.validateLink = lambda url: LINK.fullmatch(url) is not None  # type: ignore[method-assign]
    parser.core.ruler.before("inline", "plain", _leave_plain)
    return parser


def _leave_plain(state: StateCore) -> None:
    """Take paragraphs from the parser whose brackets it would try to match in more than seconds."""
    for token in state.tokens:
        if token.type == "inline" and len(BRACKETS.findall(token.content)) > MOST_BRACKETS:
            token.type = "text"


def _blocks(parent: Node, *, tight: bool = False) -> str:
    parts = [part for part in map(_block, parent.children) if part]
    return ("\n" if tight else "\n\n").join(parts)


def _block(node: Node) -> str:
    kind = node.type
    if kind == "paragraph":
        return _paragraph(node)
    if kind == "heading":
        # One below that of the page.
        return f"{'#' * min(DEEPEST_HEADING, int(node.tag[1]) + 1)} {_inline(node)}"
    if kind in ("fence", "code_block"):
        return _fence(node.content, node.info)
    if kind == "blockquote":
        return _indented(_blocks(node), "> ", "> ")
    if kind in ("bullet_list", "ordered_list"):
        return _list(node)
    if kind == "table":
        return _table(node)
    if kind == "hr":
        return "---"
    if kind == "math_block":
        return _formula_block(node.content)
    return _text(node.content)


def _paragraph(node: Node) -> str:
    spans = node.children[0].children if node.children else []
    alone = spans[0] if len(spans) == 1 else None
    display = alone is not None and (alone.type == "math_inline_double" or alone.markup == r"\[")
    return _formula_block(alone.content) if alone is not None and display else _inline(node)


def _list(node: Node) -> str:
    tight = any(child.hidden for item in node.children for child in item.children)
    items = []
    for item in node.children:
        mark = f"{item.info}{item.markup} "
        items.append(_indented(_blocks(item, tight=tight), mark, " " * len(mark)))
    return ("\n" if tight else "\n\n").join(items)


def _indented(block: str, first: str, others: str) -> str:
    lines = block.split("\n")
    return "\n".join([first + lines[0], *(others + line if line else others.rstrip() for line in lines[1:])])


def _table(node: Node) -> str:
    rows = [row for part in node.children for row in part.children]
    lines = ["| " + " | ".join(_inline(cell, cell=True) for cell in row.children) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join(map(_alignment, rows[0].children)) + "|", *lines[1:]])


def _alignment(cell: Node) -> str:
    style = str(cell.attrs.get("style", ""))
    return "--:" if "right" in style else ":-:" if "center" in style else "---"


def _fence(content: str, info: str) -> str:
    fence = "`" * max(3, _longest_run(content) + 1)
    language = (info.split() or [""])[0]
    known = LANGUAGE.fullmatch(language) is not None and language.lower() not in DRAWN
    return f"{fence}{language if known else 'text'}\n{content.removesuffix(chr(10))}\n{fence}"


def _formula_block(content: str) -> str:
    if not _is_formula(content):
        return _fence(content.strip("\n"), "latex")
    return "\n".join(["$$", *(line for line in _tex(content).splitlines() if line.strip()), "$$"])


def _inline(node: Node, *, cell: bool = False) -> str:
    """What is within a paragraph, a heading or the cell of a table: its first child."""
    spans = (span for child in node.children for span in (child.children or [child]) if span.type != "inline")
    return "".join(_span(span, cell) for span in spans).strip()


def _span(node: Node, cell: bool) -> str:
    kind = node.type
    if kind in MARKS:
        return MARKS[kind] + "".join(_span(child, cell) for child in node.children) + MARKS[kind]
    if kind == "code_inline":
        return _code(node.content, cell)
    if kind == "link":
        label = "".join(_span(child, cell) for child in node.children)
        return _link(label, str(node.attrs["href"]))
    if kind == "image":
        url = str(node.attrs["src"])
        return _link(_text(_plain(node) or url), url)
    if kind in ("softbreak", "hardbreak"):
        return "\\\n"
    if kind.startswith("math"):
        return _formula(node, cell)
    return _text(node.content)


def _text(text: str) -> str:
    """Characters that mean themselves."""
    return ICON.sub("\\\\:\u2060", MARKDOWN.sub(r"\\\1", text.replace("\n", " ")))


def _plain(node: Node) -> str:
    return "".join(_plain(child) for child in node.children) or node.content


def _link(label: str, url: str) -> str:
    address = re.sub(r"[<>\\\s]", lambda found: f"%{ord(found[0]):02X}", url)
    return f"[{label}](<{address}>)"


def _code(content: str, cell: bool) -> str:
    ticks = "`" * (_longest_run(content) + 1)
    shown = content.replace("|", r"\|") if cell else content
    # The blanks are not shown; a backtick at an end needs them.
    return f"{ticks} {shown} {ticks}" if shown.strip() else ""


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _formula(node: Node, cell: bool) -> str:
    content = " ".join(node.content.split())
    if not _is_formula(content):
        opens, closes = {r"\(": (r"\(", r"\)"), r"\[": (r"\[", r"\]")}.get(node.markup, (node.markup,) * 2)
        return _text(f"{opens}{node.content}{closes}")
    content = _tex(content)
    return f"${content.replace('|', chr(92) + 'vert ') if cell else content}$"


def _tex(content: str) -> str:
    """A formula that is harmless also where Streamlit takes it for none: without tags, links and images."""
    return content.replace("<", r"\lt ").replace(">", r"\gt ").replace("](", "] (").replace("![", "! [")


def _is_formula(content: str) -> bool:
    """Whether this is one, and one that stays in its place."""
    return (
        0 < len(content.strip()) <= LONGEST_FORMULA
        and "$" not in content
        and "`" not in content
        and not content.rstrip().endswith("\\")
        and PRICE.match(content) is None
        and NO_FORMULA.search(content) is None
    )
