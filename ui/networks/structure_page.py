"""The parts of the page about architectures: one network's idea, numbers, diagram and layers."""

from collections.abc import Sequence

import streamlit as st

from tasks.anatomy import Layer, family, layers, stems
from ui.networks.ideas import IDEAS
from ui.networks.structure import diagram, facts, table

CLASSES = 10
# Height and width of the images, in pixels, by the kind of input.
SIZES = {"small": 32, "imagenet": 224}
XCEPTION_SIZE = 299
STEM_NAMES = {"small": "32 x 32 pixels", "imagenet": "as in the paper"}
CHANNELS = {1: "gray", 3: "color"}


@st.cache_data(show_spinner="Tracing the network", max_entries=50)
def layers_of(architecture: str, channels: int, stem: str, size: int) -> list[Layer]:
    """`tasks.anatomy.layers`, kept for all visitors."""
    return layers(architecture, CLASSES, channels, stem, size)


def draw_network(place: str, names: Sequence[str], first: str) -> None:
    """A choice of a network and all that is known of it.

    Args:
        place: distinguishes the networks of the page; also the query parameter that links to a choice.
        names: what can be chosen.
        first: what is chosen at first.
    """
    key = f"networks-{place}"
    if key not in st.session_state:
        wanted = st.query_params.get(place, first)
        st.session_state[key] = wanted if wanted in names else first
    name = st.selectbox(
        f"Network on the {place}", names, key=key, persist_state="session", label_visibility="collapsed"
    )
    st.query_params[place] = name
    idea = IDEAS[family(name)]
    st.markdown(f"{idea.text} ([{idea.paper}]({idea.link}))")
    with st.container(horizontal=True):
        stem = st.segmented_control(
            "Images",
            stems(name),
            format_func=STEM_NAMES.__getitem__,
            required=True,
            default=stems(name)[-1],
            key=f"{key}-stem-{name}",
        )
        channels = st.segmented_control(
            "Channels",
            list(CHANNELS),
            format_func=CHANNELS.__getitem__,
            required=True,
            default=3,
            key=f"{key}-channels",
        )
    size = XCEPTION_SIZE if (name, stem) == ("xception", "imagenet") else SIZES[stem]
    found = layers_of(name, channels, stem, size)
    with st.container(horizontal=True):
        for title, value in facts(found).items():
            st.metric(title, value, width="content")
    diagram_tab, layers_tab = st.tabs(["Diagram", "Layers"])
    with diagram_tab:
        st.graphviz_chart(
            diagram(found, (channels, size, size)),
            width="content",
            alt=f"The blocks of {name} from the image to the classes; the tab Layers lists them.",
        )
    with layers_tab:
        st.dataframe(
            table(found),
            hide_index=True,
            height="content" if len(found) < 60 else 700,
            column_config={
                "parameters": st.column_config.NumberColumn(format="localized"),
                "MFLOPs": st.column_config.NumberColumn(format="%.2f"),
            },
        )
        st.caption(
            "FLOPs of one image: a multiplication and an addition are two. Receptive field: how many pixels of "
            "the picture, a side, one unit depends on; gates are left aside."
        )
