"""The page that shows what networks are made of."""

from tasks.anatomy import layers
from tests.support.pages import fine
from ui.networks.structure import diagram, facts, table


def test_two_networks_are_shown_side_by_side_and_can_be_changed(empty_tool, page) -> None:
    app = fine(page("networks"))
    assert [box.value for box in app.selectbox] == ["lenet5", "resnet20"]
    fine(app.selectbox[1].set_value("seresnet20").run())
    values = [metric.value for metric in app.metric if metric.label == "Parameters"]
    assert values == ["62,006", "272,095"]
    assert "squeeze and excitation" in app.markdown[-1].value
    assert len(app.dataframe[0].value) == 12


def test_a_link_names_both_networks_and_an_unknown_one_is_passed_over(empty_tool, page) -> None:
    app = page("home")
    app.query_params["left"], app.query_params["right"] = "vgg_small", "nothing"
    fine(app.switch_page("views/networks.py").run())
    assert [box.value for box in app.selectbox] == ["vgg_small", "resnet20"]


def test_the_diagram_and_the_table_say_what_the_layers_are() -> None:
    found = layers("resnet20", 10, 3)
    dot = diagram(found, (3, 32, 32))
    assert "residual block × 3" in dot and "64 × 8 × 8" in dot and dot.count("->") == 9
    row = table(found)[0]
    assert (row["layer"], row["output"], row["receptive field"]) == ("3 x 3 convolution", "16 × 32 × 32", "3 px")
    assert table(found)[-1]["receptive field"] == "all"
    assert facts(found)["Layers with weights"] == "20" and facts(found)["FLOPs per image"] == "81.1 M"


def test_a_registered_network_shows_what_its_blocks_make_of_a_digit(tool, page) -> None:
    app = page("networks")
    app.segmented_control(key="networks-view").set_value("What it sees").run()
    assert not app.error
    app.segmented_control(key="image-way").set_value("Example").run()
    assert not app.error
    assert any("Filters of the first layer" in one.value for one in app.markdown)
    assert any("It saw the picture" in one.value for one in app.caption)
