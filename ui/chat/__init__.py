"""The chat page: conversations that are kept, replies that go on while nobody looks, what is drawn of them."""
