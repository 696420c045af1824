"""Finding and fetching models of the Hugging Face Hub in the tool."""
