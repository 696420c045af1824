"""Conversations as they are kept: messages as a tree, a store in SQLite, their owners, exports. No Streamlit here."""
