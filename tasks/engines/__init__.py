"""How models are loaded and run: transformers, diffusers, and the networks trained here."""
