"""The home page."""


def test_home_lists_every_task_that_has_a_model(tool, page) -> None:
    app = page("home")
    assert not app.exception and not app.error
    text = " ".join(element.value for element in app.markdown)
    for task in ("sentiment", "chatbot", "image", "sequence"):
        assert task in text
