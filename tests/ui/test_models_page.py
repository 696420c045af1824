"""The page Models: versions, champions, promotion, the catalog, and what is in memory."""

import re
from dataclasses import replace

import pytest

from experiments.evaluation.tasks import TASK_METRICS, sample_rows
from tasks import registry
from tests.support.gateway import version
from tests.support.pages import fine, texts
from ui import session
from ui.running import model_cards, model_facts

TAB = "models-tab"
MARKUP = re.compile(r"(?<!\\)(?:[<$]|:red|\]\()")  # not escaped


def add_version(accuracy: str, **tags: str) -> str:
    """Another version of cnn-digits; its key."""
    first = registry.find("cnn-digits")
    version = registry.register(first.source, first.name, {**first.tags, "val_accuracy": accuracy, **tags})
    return f"{first.name}/{version.version}"


def opened(app, tab: str):
    """The page with another tab open."""
    app.session_state[TAB] = tab
    return app.run()


def headings(app) -> set[str]:
    return {heading.value.replace("\\", "") for heading in app.header}


def test_all_models_are_listed_with_their_champion(tool, page) -> None:
    app = fine(page("models"))
    shown = texts(app)
    for name in ("chatbot", "cnn-digits", "seq2seq-reverse", "image-generation"):
        assert name in headings(app)
    assert "license mit" in shown and "validation accuracy 0.5000" in shown
    app.selectbox(key="models-filter").set_value("image-classification").run()
    assert headings(app) == {"cnn-digits", "cnn-mnist"}


def test_one_click_promotes_a_better_version(tool, page) -> None:
    key = add_version("0.75")
    app = page("models")
    app.button(key=f"promote-{key}").click().run()
    assert registry.find("cnn-digits").key == key
    assert "Version 2 is now the champion." in texts(app)
    assert f"promote-{key}" not in {button.key for button in app.button}
    assert "promote-cnn-digits/1" in {button.key for button in app.button}


def test_a_worse_version_is_promoted_only_when_confirmed(tool, page) -> None:
    key = add_version("0.25")
    app = page("models")
    app.button(key=f"promote-{key}").click().run()
    assert registry.find("cnn-digits").version == 1
    assert "Validation accuracy: cnn-digits/2 has 0.2500, champion cnn-digits/1 has 0.5000." in texts(app)
    app.button(key="promote-anyway").click().run()
    assert registry.find("cnn-digits").key == key


@pytest.mark.parametrize(
    ("metric", "new", "doubt"),
    [
        ("sample_accuracy", "0.2", "Accuracy on the sample: x/2 has 0.2000, champion x/1 has 0.5000."),
        ("sample_accuracy", "0.6", ""),
        ("sample_accuracy", "0.5", ""),
        ("sample_bits_per_byte", "0.6", "Bits per byte on the sample: x/2 has 0.6000, champion x/1 has 0.5000."),
        ("sample_bits_per_byte", "0.4", ""),
        ("val_f1", "0.2", "Validation f1: x/2 has 0.2000, champion x/1 has 0.5000."),
        ("val_accuracy", "much", ""),
    ],
)
def test_the_tool_asks_before_a_worse_version_of_any_kind_is_promoted(metric: str, new: str, doubt: str) -> None:
    present, other = version("x", "chatbot", 1), version("x", "chatbot", 2, champion=False)
    present, other = replace(present, tags={metric: "0.5"}), replace(other, tags={metric: new})
    assert model_facts.reason_to_ask(other, present) == doubt
    assert model_facts.reason_to_ask(other, None) == ""
    elsewhere = replace(other, tags={**other.tags, "sample_sha256": "x", "data_sha256": "x"})
    assert model_facts.reason_to_ask(elsewhere, present) == (doubt[:-1] + ", on other data." if doubt else "")


def test_the_tool_knows_every_metric_that_decides() -> None:
    assert set(model_facts.SAMPLED_BY) >= {
        f"sample_{TASK_METRICS[task].headline}" for task in TASK_METRICS if sample_rows(task)
    }


def test_a_version_that_is_gone_is_said_in_words(tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    key = add_version("0.75")
    app = page("models")
    mlflow.MlflowClient().delete_model_version("cnn-digits", "2")
    app.button(key=f"promote-{key}").click().run()
    assert any("there is no registered model cnn-digits/2" in error.value.replace("\\", "") for error in app.error)
    assert registry.find("cnn-digits").version == 1


def test_texts_of_people_are_inert(tool, page) -> None:
    evil = "<script>alert(1)</script> [x](javascript:alert(2)) :red[y] $z$"
    key = add_version("0.75", model=evil, license="</div><b>mine</b>", parameters="many", memory_bytes="-3")
    app = page("models")
    assert evil in texts(app)
    app.button(key=f"details-{key}").click().run()
    tags = dict(zip(app.dataframe[0].value["name"], app.dataframe[0].value["value"], strict=True))
    assert tags["memory_bytes"] == "'-3"  # the table can be downloaded as CSV
    for element in (*app.markdown, *app.caption):
        assert not MARKUP.search(element.value), element.value


def test_details_have_tags_metrics_and_links(tool, page) -> None:
    import mlflow

    version = registry.find("cnn-digits")
    mlflow.MlflowClient().log_metric(version.run_id, "test_f1", 0.875)
    app = page("models")
    app.button(key="details-cnn-digits/1").click().run()
    tables = [dict(zip(table.value["name"], table.value["value"], strict=True)) for table in app.dataframe]
    assert tables[0]["dataset"] == "digits" and tables[1] == {"test_f1": "0.875"}
    links = [link.proto.url for link in app.get("link_button")]
    assert any(link.endswith("#/models/cnn-digits/versions/1") for link in links)
    assert any(version.run_id in link for link in links)


def test_many_versions_are_folded(tool, page) -> None:
    for number in range(8):
        add_version(f"0.1{number}")
    app = page("models")
    buttons = [button.key for button in app.button if str(button.key).startswith("promote-cnn-digits")]
    assert buttons == [f"promote-cnn-digits/{version}" for version in (9, 8, 7, 6, 5)]
    app.toggle(key="all-cnn-digits").set_value(True).run()
    assert len([button for button in app.button if str(button.key).startswith("promote-cnn-digits")]) == 8


def test_an_empty_registry_says_what_to_do(empty_tool, page) -> None:
    app = page("models")
    assert "Nothing is registered yet" in texts(app)
    opened(app, "Register a model")
    assert any(button.label == "Register" for button in app.button)
    opened(app, "In memory")
    assert "No model is loaded" in texts(app)


def test_the_catalog_registers_as_a_process(tool, page, started: list) -> None:
    app = opened(page("models"), "Register a model")
    app.selectbox(key="models-task").set_value("summarization").run()
    app.toggle(key="models-package").set_value(True).run()
    app.selectbox(key="models-champion").set_value("true").run()
    shown = texts(app)
    assert "facebook/bart-large-cnn" in shown and "406 M parameters" in shown and "license mit" in shown
    app.button(key="register-summarization-t5-small").click().run()
    values = {"task": "summarization", "package_weights": "true", "champion": "true", "model": "t5-small"}
    assert started == [("register", values)]
    assert "Started: Registration of t5-small" in texts(app)


def test_another_model_is_checked_beside_the_field(tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(model_cards, "launch", lambda *arguments: started.append(arguments))
    app = opened(page("models"), "Register a model")
    assert app.button(key="register-other").disabled
    app.text_input(key="models-other").set_value("../../<b>x</b>").run()
    assert app.button(key="register-other").disabled and "there is no such folder" in texts(app)
    assert not any("<b>" in error.value for error in app.error)
    for model in (str(tool), "owner/name", "gpt2"):
        app.text_input(key="models-other").set_value(model).run()
        assert not app.error
        app.button(key="register-other").click().run()
    values = {"task": "sentiment-analysis", "package_weights": "false", "champion": "auto"}
    assert [arguments[1] for arguments in started] == [
        {**values, "model": model} for model in (str(tool), "owner/name", "gpt2")
    ]


@pytest.mark.parametrize(
    "model",
    ["", "  ", "nämé", "a/b/c", "../up", "a/..", "x\0y", "a\nb", "/nowhere/at/all", "~nobody-here/x", "y" * 5000],
)
def test_what_is_no_model_is_refused(model: str) -> None:
    assert model_facts.wrong_with(model)


def test_memory_shows_what_is_loaded(tool, page) -> None:
    app = page("models")
    session.services().submit("seq2seq-reverse", {"sequence": [1, 2, 3]}).result(60)
    opened(app, "In memory")
    assert app.dataframe[0].value["name"].tolist() == ["seq2seq-reverse"]
