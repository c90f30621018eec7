"""Classify, input: photos from the disk, a zip, the camera, or an example."""

from typing import Any

import streamlit as st

from pages.shared.examples import examples_of
from pages.shared.markdown import plain
from pages.shared.progress import sentence
from trashnet.data.archive import Room, is_zip, read_pictures
from trashnet.errors import DataError, PhotoError
from trashnet.runs.run import Run

MOST = 500
"""Photos answered at once, so that one visitor leaves room for others."""

ROOM = 100_000_000
"""Bytes that what is sent may unpack to; photos hardly shrink in a zip, bombs do."""

MOST_BYTES = 500_000_000
"""Of everything sent at once, as it was sent: a hundred photos of a phone."""

PHOTOS, CAMERA, EXAMPLES = "Photos or a zip", "Camera", "Examples"

Sent = tuple[str, bytes | PhotoError]
"""A photo's name, and its bytes or the error that says why there are none."""


def render(run: Run) -> list[Sent]:
    """Draws the ways to bring photos; returns what was brought, by name."""
    way = st.segmented_control(
        "Photos from", [PHOTOS, CAMERA, EXAMPLES], default=PHOTOS, required=True, key="classify_way"
    )
    if way == CAMERA:
        shot = st.camera_input("Take a photo of one piece of waste", key="classify_camera")
        return [("your photo", shot.getvalue())] if shot else []
    if way == EXAMPLES:
        return _render_examples(run)
    uploads = st.file_uploader(
        "Drop photos of waste, or take one with your phone",
        accept_multiple_files=True,
        key="classify_photos",
        help="JPEG, PNG, WebP, HEIC, AVIF, BMP, GIF or TIFF, or a zip of them. "
        "Nothing you upload is kept.",
    )
    with sentence(":material/folder_zip:"):
        return _gathered(uploads)
    return []


def _gathered(uploads: list[Any]) -> list[Sent]:
    """Returns the photos of all uploads, zips unpacked, within the limits of one visit."""
    sent = sum(upload.size for upload in uploads)
    if sent > MOST_BYTES:
        most = f"{MOST_BYTES / 1e6:,.0f} MB"
        raise DataError(f"These are {sent / 1e6:,.0f} MB; send at most {most} at once.")
    photos: list[Sent] = []
    room = Room(ROOM)  # of all zips together
    for upload in uploads:
        content = upload.getvalue()
        if not is_zip(content):
            photos.append((upload.name, content))
            continue
        photos += read_pictures(content, MOST - len(photos), room)
    if len(photos) > MOST:
        raise DataError(f"These are {len(photos):,} photos; send at most {MOST:,} at once.")
    return photos


def _render_examples(run: Run) -> list[Sent]:
    """Draws one picture a class to choose from; the run was not trained on them."""
    examples = examples_of(run)
    chosen = st.pills(
        "An example of",
        list(examples),
        format_func=plain,
        key="classify_example",
        default=next(iter(examples)),
    )
    return [(f"an example of {chosen}", examples[chosen])] if chosen else []
