"""The chat page: saved conversations, replies written in the background, and how both are drawn."""
