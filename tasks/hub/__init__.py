"""Model folders and the Hugging Face Hub."""
