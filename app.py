"""Starts the app: Home and the pages, behind a bound on what one visit's uploads may hold."""

import streamlit as st
from starlette.middleware import Middleware

from pages.shared.upload_bound import UploadBound

app = st.App("home.py", middleware=[Middleware(UploadBound)])
