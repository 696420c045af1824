"""How models are loaded and run: transformers, llama.cpp, diffusers, and the networks trained here.

The module of a task says what it takes and gives, and imports what runs its model only in the functions that run it:
the gateway reads the columns and parameters of all tasks, and may serve GGUF alone, which needs no torch.
"""
