"""Page: what the tool is, what it can do here and now, and the first thing to click."""

import streamlit as st

from ui.plain import escaped
from ui.services import tasks_with_models
from ui.session import versions

st.title("Project-DL")
st.write(
    "Train networks, compare them fairly, and use what was registered. "
    "Every model here is a version in MLflow's registry."
)
found = versions()
for task, models in tasks_with_models(found).items():
    st.write(escaped(f"{task}: {', '.join(one.model for one in models)}"))
