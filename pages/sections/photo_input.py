"""Classify, input: photos from the disk, a zip, the camera, or an example."""

from collections.abc import Iterator

import streamlit as st

from pages.shared import loaders
from trashnet.archive import is_zip, read_pictures
from trashnet.batch import Named
from trashnet.errors import DataError
from trashnet.runs import Run

MOST = 500
"""Photos answered at once, so that one visitor leaves room for others."""

PHOTOS, CAMERA, EXAMPLES = "Photos or a zip", "Camera", "Examples"


def render(run: Run) -> list[Named]:
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
    try:
        photos = [photo for upload in uploads for photo in _unpacked(upload)]
    except DataError as error:
        st.error(str(error), icon=":material/folder_zip:")
        return []
    if len(photos) > MOST:
        st.error(f"These are {len(photos):,} photos; send at most {MOST:,} at once.")
        return []
    return photos


def _unpacked(upload: st.runtime.uploaded_file_manager.UploadedFile) -> Iterator[Named]:
    content = upload.getvalue()
    if is_zip(content):
        yield from read_pictures(content, MOST)
    else:
        yield upload.name, content


def _render_examples(run: Run) -> list[Named]:
    """Draws one picture a class to choose from; the run was not trained on them."""
    examples = loaders.examples(run)
    chosen = st.pills(
        "An example of", list(examples), key="classify_example", default=next(iter(examples))
    )
    return [(f"an example of {chosen}", examples[chosen])] if chosen else []
