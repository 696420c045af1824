"""Page: one run, named by `?run=` of the address: its report, curves, confusion matrix, numbers and figures."""

import streamlit as st

from ui.plain import escaped
from ui.results.run_page import draw_run, name_of
from ui.results.training_runs import run_and_files
from ui.session import show_errors

found = None
with show_errors("run"):
    found = run_and_files(st.query_params.get("run", ""))
st.title(escaped(name_of(found[0])) if found else "Run")
st.page_link("views/results.py", label="All runs", icon=":material/arrow_back:")
if found:
    with show_errors("run-parts"):
        draw_run(*found)
else:
    st.info("Choose a run in the table of all runs: this link leads to none.", icon=":material/link_off:")
