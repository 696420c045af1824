"""Where the visitor's pictures come from: uploaded and kept under `data/own`, or a path on this machine."""

from collections.abc import Callable

import streamlit as st

from experiments.config import UserError
from ui.own_data.keeping import HOME, Kept, keep_class, keep_folder, keep_zip, kept_sets
from ui.plain import escaped

FOLDER, ZIP, CLASS, HERE = "Folder", "Zip", "One class", "Kept or path"
PATH, NOTE, LOOKED_AT = "own-path", "own-note", "own-looked-at"  # in the session's state
MOST_MB = 200
PICTURES = ["png", "jpg", "jpeg"]
HELP = {
    FOLDER: "A folder with one folder of pictures for each class; or these under train/, val/ and test/.",
    ZIP: "A zip of such a folder; of many files it is uploaded faster than the folder.",
    CLASS: "Pictures of one class at a time: those of the next class are added to the same data set.",
    HERE: "What was uploaded before; or the path of a folder or zip on the machine of this tool, or of a CSV with the "
    "columns file and label, of which nothing is copied.",
}


def choose_data() -> str | None:
    """Draw the ways to a data set. Returns the path of the one that was chosen; None before that."""
    way = st.segmented_control(
        "Your pictures", list(HELP), default=FOLDER, required=True, wrap=True, key="own-way", persist_state="session"
    )
    st.caption(HELP[way])
    if way == HERE:
        _draw_path()
    else:
        _draw_upload(way)
    if note := st.session_state.pop(NOTE, None):
        (st.success if note[0] else st.error)(escaped(note[1]))
    return st.session_state.get(PATH)


def _draw_path() -> None:
    kept = kept_sets()
    with st.form("own-here", border=False):
        path = st.selectbox(
            "Path",
            list(dict.fromkeys([*kept, *filter(None, [st.session_state.get(PATH)])])),
            index=None,
            accept_new_options=True,
            placeholder="a path, such as /home/me/flowers",
            key="own-typed",
            help="Those that you have uploaded are offered; any other can be typed.",
        )
        if st.form_submit_button("Look at it", icon=":material/search:") and path:
            st.session_state[PATH] = path if "/" in path else f"./{path}"


def _draw_upload(way: str) -> None:
    name = st.text_input("Name of the data set", "pictures", max_chars=60, key="own-name", persist_state="session")
    keep: Callable[[], Kept]
    count = st.session_state.get("own-count", 0)  # an upload box anew is an empty one
    if way == ZIP:
        file = st.file_uploader("Zip", ["zip"], max_upload_size=MOST_MB, key=f"own-zip-{count}")
        given, keep = file is not None, lambda: keep_zip(name, file)  # type: ignore[arg-type]
    elif way == CLASS:
        label = st.text_input("Class of these pictures", max_chars=100, key="own-label")
        files = st.file_uploader("Pictures", PICTURES, accept_multiple_files=True, key=f"own-files-{count}")
        given, keep = bool(files), lambda: keep_class(name, label, files)
    else:
        files = st.file_uploader("Folder", PICTURES, accept_multiple_files="directory", key=f"own-folder-{count}")
        given, keep = bool(files), lambda: keep_folder(name, files)
    st.caption(f"Files are kept on the machine of this tool, under `{HOME}`, until you delete them there.")
    st.button(
        "Keep and look at them",
        type="primary",
        icon=":material/save:",
        key="own-keep",
        disabled=not given,
        on_click=_keep,
        args=(keep,),
    )


def _keep(keep: Callable[[], Kept]) -> None:
    try:
        kept = keep()
    except UserError as error:
        st.session_state[NOTE] = (False, str(error))
        return
    refused = f"; names that lead elsewhere were left out: {', '.join(kept.refused[:3])}" if kept.refused else ""
    files = "1 file was" if kept.written == 1 else f"{kept.written:,} files were"
    st.session_state[NOTE] = (True, f"{files} kept under {kept.path}{refused}")
    st.session_state[PATH] = kept.path
    st.session_state.pop(LOOKED_AT, None)  # there may be more under this path than before
    st.session_state["own-count"] = st.session_state.get("own-count", 0) + 1
