"""An HTML report on the page: in a frame that can run nothing, load nothing and lead nowhere."""

import streamlit as st
from streamlit.components.v2 import component

# Reports are escaped where they are made, but anyone who can write MLflow's artifacts could put another one there.
# That a link in the frame leads to no other host, only a header of the tool's page can see to: `OwnOrigin` sends it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Without the base, the links of the table of contents would lead to the tool's page.
HEAD = f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{POLICY}"><base href="about:srcdoc">'
JS = """
export default function ({ data, parentElement }) {
  const frame = parentElement.querySelector("iframe")
  frame.title = data.title
  if (frame.srcdoc !== data.page) frame.srcdoc = data.page
}
"""
HTML = '<iframe sandbox="" referrerpolicy="no-referrer"></iframe>'
CSS = """
iframe { display: block; width: 100%; height: 80vh; box-sizing: border-box; background: var(--st-background-color);
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius); }
"""

_mount = component("report_frame", html=HTML, css=CSS, js=JS)


def draw_report(title: str, page: bytes, key: str) -> None:
    """A report, and a button to download it. `key` distinguishes several on one page."""
    st.download_button(
        "Download the report",
        page,
        f"{key}.html",
        "text/html",
        key=f"{key}-download",
        icon=":material/download:",
        on_click="ignore",
    )
    _mount(key=key, data={"title": title, "page": HEAD + page.decode("utf-8", "replace")})
