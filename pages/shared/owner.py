"""The one guard before whatever changes this server: visitors look and classify, the owner acts."""

import functools
import ipaddress
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import streamlit as st

from pages.shared.password import Door, DoorError, Pass
from trashnet.environment import environment

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

DOOR = Door()
"""Of the server, whose modules outlive visits; Streamlit's caches any visitor can have cleared."""

SIGN_IN = "Only the owner may do or see this: sign in, in the sidebar."
HOW = (
    "On a server that others can reach, this is off until it has an owner: set the secret "
    "TRASHNET_OWNER_PASSWORD and start the app again."
)

_PASS, _GIVEN, _SAID = "owner_pass", "owner_given", "owner_said"
_PROXIES = ("via", "forwarded", "x-forwarded", "x-real-ip", "cf-", "true-client-ip")
"""How the headers begin by which a proxy says that it stands in between."""


def owner_only(action: Callable[Parameters, Result]) -> Callable[Parameters, Result | None]:
    """Lets a function run for the owner alone; to anybody else it says why not and does nothing.

    Decorate the whole of an action, what follows from it included, so that for a visitor nothing
    happens. The check is made when the function is called, whatever the page had drawn before.

    It works on callbacks, fragments and dialogs, as their innermost decorator: Streamlit calls
    what `st.fragment` was given again by itself, past whatever is around it. The content of a
    download, which Streamlit asks for outside of a visit, needs `allowed_later` instead.
    """

    @functools.wraps(action)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result | None:
        why = refusal()
        if why is None:
            return action(*args, **kwargs)
        st.info(why, icon=":material/lock:")
        return None

    return guarded


def refusal() -> str | None:
    """Returns why the visitor may not act, in a sentence, or None for the owner."""
    env = environment()
    if env.owner_password:
        return None if _held_pass().seconds_left else SIGN_IN
    is_public = not _is_here() if env.public is None else env.public
    return HOW if is_public else None


def locked(**button: Any) -> dict[str, Any]:
    """Returns a button's arguments: as given for the owner, else disabled with the reason.

    This is for the eye; what holds is `owner_only` on what the button does.
    """
    why = refusal()
    return button if why is None else button | {"disabled": True, "help": why}


def allowed_later() -> Callable[[], bool]:
    """Returns a question to ask after this run of the script: may this visitor act, then?"""
    held, was_open = _held_pass(), refusal() is None
    return lambda: held.seconds_left > 0 if environment().owner_password else was_open


def _held_pass() -> Pass:
    """The visitor's pass, or one that ran out where there is none."""
    return st.session_state.get(_PASS) or Pass(0.0)


def _is_here() -> bool:
    """Whether the visitor's browser runs on this machine, with nothing that shows in between.

    A visitor who has left has no headers any more, and what they started may still be running.
    """
    headers, address = st.context.headers, st.context.ip_address
    host = (headers.get("Host") or "").rsplit(":", 1)[0].strip("[]")
    return (
        # Streamlit gives none for the commonest loopback addresses.
        (not isinstance(address, str) or _is_loopback(address))
        and _is_loopback(host)
        and not any(name.lower().startswith(_PROXIES) for name in headers)
    )


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    # A socket for both kinds of address writes the older kind as ::ffff:127.0.0.1.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def render_door() -> None:
    """Draws who the visitor is and the way in or out; nothing where all is open."""
    if not environment().owner_password:
        if (why := refusal()) is not None:
            st.caption(":material/visibility: visitor", help=why)
        return
    held = _held_pass()
    if held.seconds_left:
        minutes = math.ceil(held.seconds_left / 60)
        st.caption(f":material/lock_open: owner signed in, {minutes} min left")
        st.button("Sign out", key="owner_out", icon=":material/logout:", on_click=held.give_back)
        return
    st.caption(":material/visibility: visitor")
    with (
        st.popover("Owner's sign-in", icon=":material/key:"),
        st.form("owner_form", border=False),
    ):
        st.text_input(
            "Owner's password", type="password", key=_GIVEN, autocomplete="current-password"
        )
        st.form_submit_button("Sign in", type="primary", key="owner_in", on_click=_enter)
        if said := st.session_state.pop(_SAID, ""):
            st.error(said, icon=":material/error:")


def _enter() -> None:
    """Tries what was typed, which is kept nowhere."""
    given, st.session_state[_GIVEN] = st.session_state[_GIVEN], ""
    try:
        st.session_state[_PASS] = DOOR.enter(given, environment().owner_password or "")
    except DoorError as error:
        st.session_state[_SAID] = str(error)
