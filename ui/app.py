"""The tool's navigation, and nothing else. `make ui` and `python -m ui` serve it; `streamlit run` checks less."""

from pathlib import Path

import streamlit as st

from tasks.version import __version__
from ui import NAME

PAGES = (
    ("views/home.py", "Home", ":material/home:"),
    ("views/tasks.py", "Tasks", ":material/bolt:"),
    ("views/chat.py", "Chat", ":material/forum:"),
    ("views/image.py", "Draw and classify", ":material/draw:"),
    ("views/own.py", "Your own data", ":material/add_photo_alternate:"),
    ("views/compare.py", "Compare CNNs", ":material/leaderboard:"),
    ("views/networks.py", "Inside a network", ":material/account_tree:"),
    ("views/seq2seq.py", "Attention", ":material/swap_horiz:"),
    ("views/models.py", "Models", ":material/deployed_code:"),
    ("views/runs.py", "Runs", ":material/play_circle:"),
    ("views/results.py", "All runs", ":material/table_rows:"),
    ("views/run.py", "Run", ":material/query_stats:"),
)

HIDDEN = ("views/run.py",)  # is opened from the table of all runs
ICON = Path(__file__).with_name("icon.png")

# Less above what the page is for: Streamlit leaves 96 pixels above the title and 36 around it.
STYLE = """<style>
[data-testid=stStatusWidget] {display: none}
[data-testid=stMainBlockContainer] {padding-top: 3.5rem}
[data-testid=stHeading] h1 {padding: 0 0 0.5rem}
/* What is chosen has the primary color, which on dark is too dark for a text. */
[role=tab][aria-selected=true], [role=radio][aria-checked=true], button[aria-pressed=true],
[data-testid=stSliderThumbValue] {color: inherit !important}
/* Streamlit makes captions see-through, links and code in them, too: only their plain text is to be paler. */
[data-testid=stCaptionContainer] {opacity: 1; color: color-mix(in srgb, currentColor 60%, transparent)}
[class*=st-key-tasks-][class*=-answers] {scroll-margin-bottom: 12rem}
/* A message keeps to its place, whatever marks are stacked on its letters, and its own direction of writing. */
[data-testid=stChatMessage] {overflow: clip; scroll-margin-bottom: 9rem}
[data-testid=stChatMessage] :is(p, li, td, th, h2, h3) {unicode-bidi: plaintext; text-align: start}
[data-testid=stBaseButton-primary] kbd {opacity: 1; color: inherit}
</style>"""
SHORTCUTS = """

| key | what it does |
|---|---|
| Ctrl+Enter | run the task that is open |
| Enter | send a message |
| Shift+Enter | a new line in a message |
| Tab, Shift+Tab | the next field, the one before |
| Shift+Space | in a table: tick the row |
"""


def main() -> None:
    """Draw the navigation, and the page that the visitor is on."""
    # A picture of our own: the browser would fetch a named icon from another host.
    st.set_page_config(
        page_title=NAME, page_icon=str(ICON), layout="wide", menu_items={"About": f"{NAME} {__version__}{SHORTCUTS}"}
    )
    pages = [
        st.Page(
            path,
            title=title,
            icon=icon,
            default=path == PAGES[0][0],
            visibility="hidden" if path in HIDDEN else "visible",
        )
        for path, title, icon in PAGES
    ]
    page = st.navigation(pages)
    # Streamlit's own Stop would end the drawing and let the model write on; the pages have one that stops the model.
    st.html(STYLE)
    # The navigation is on its way to the browser. What follows imports MLflow, which takes seconds the first time.
    with st.spinner("Loading libraries"):
        from ui.frame import draw
    draw(page, "" if page.title == PAGES[0][1] else page.title)


main()
