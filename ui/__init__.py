"""The tool in the browser: a Streamlit app over MLflow's registry and runs."""

NAME = "Project-DL"
