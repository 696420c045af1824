"""The chatbot that the project ships: the language model continued on dialogues."""
