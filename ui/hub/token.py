"""The visitor's token of the Hugging Face Hub: kept for the visit, in the memory of the tool, and shown nowhere."""

import streamlit as st

TOKEN, FIELD, REFUSED = "hub-token", "hub-token-field", "hub-token-refused"
LONGEST = 200


def token() -> str | None:
    """The token that was given; None: that of HF_TOKEN or `hf auth login`, if there is one."""
    return st.session_state.get(TOKEN)


def environment() -> dict[str, str]:
    """What a program needs to use it. A command line would be seen in the list of processes, and in their files."""
    given = token()
    return {"HF_TOKEN": given} if given else {}


def draw_token() -> None:
    """A field for it, which is empty again as soon as it was read."""
    with st.expander("Token for gated and private models", icon=":material/key:"):
        if token():
            st.success("Your token is used until you close this page. It is in no file, log or run.")
            st.button("Forget it", key="hub-token-forget", on_click=_forget, icon=":material/key_off:")
            return
        with st.form("hub-token-form", clear_on_submit=True, border=False):
            st.text_input("Token", type="password", key=FIELD, max_chars=LONGEST, autocomplete="off")
            st.form_submit_button("Use token", key="hub-token-use", on_click=_keep, icon=":material/key:")
        if st.session_state.pop(REFUSED, False):
            st.error("That is not a token; valid: one of huggingface.co/settings/tokens", icon=":material/error:")
        st.caption("It is kept in memory only. `hf auth login` in a terminal, or HF_TOKEN, keeps one for good.")


def _keep() -> None:
    given = st.session_state.get(FIELD, "").strip()
    st.session_state[FIELD] = ""  # the page is not to hold it any longer
    if given and given.isascii() and given.isprintable():
        st.session_state[TOKEN] = given
    else:
        st.session_state[REFUSED] = True


def _forget() -> None:
    st.session_state.pop(TOKEN, None)
