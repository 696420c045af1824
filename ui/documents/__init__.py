"""Texts of documents: TXT, MD, PDF and DOCX, read in a process of its own; Streamlit in `field.py` alone."""
