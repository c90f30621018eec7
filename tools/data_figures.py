"""Draws the figures of docs/data.md from an audit, as PNG files in docs/images.

Run from the project folder, with Chromium installed: python -m tools.data_figures
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from playwright.sync_api import sync_playwright

from trashnet.data.audit_findings import SAME_OBJECT
from trashnet.data.dataset import find_photos
from trashnet.data.scan import scan
from trashnet.environment import environment, quiet_tensorflow
from trashnet.training.embedding import embed_and_audit

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE = {"width": 760, "height": 360}
LAYOUT = {
    **SIZE,
    "template": "plotly_white",
    "margin": {"l": 70, "r": 20, "t": 60, "b": 60},
    "font": {"family": "sans-serif", "size": 14, "color": "#1F2328"},
}


def nearest_similarities(embeddings: np.ndarray, labels: np.ndarray) -> go.Figure:
    """Draws how similar each photo is to its most similar other photo."""
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -1)
    nearest = similarity.argmax(axis=1)
    best = similarity.max(axis=1)
    same = labels == labels[nearest]
    figure = go.Figure()
    for name, rows, colour in (
        ("same class", same, "#009E73"),
        ("another class", ~same, "#E69F00"),
    ):
        bins = {"start": 0.4, "end": 1.0001, "size": 0.02}
        figure.add_histogram(x=best[rows], xbins=bins, name=name, marker_color=colour)
    figure.add_vline(SAME_OBJECT, line_dash="dash", line_color="#1F2328")
    count = int((best >= SAME_OBJECT).sum())
    figure.update_layout(
        **LAYOUT,
        barmode="stack",
        bargap=0.05,
        title=f"{count} of {len(best):,} photos have a twin at {SAME_OBJECT:.2f} or above",
        xaxis_title="cosine similarity to the most similar other photo",
        yaxis_title="photos",
        legend={"x": 0.02, "y": 0.98},
    )
    return figure


def group_sizes(groups: np.ndarray) -> go.Figure:
    """Draws how many objects were photographed how often."""
    _, sizes = np.unique(groups, return_counts=True)
    times, objects = np.unique(sizes[sizes > 1], return_counts=True)
    figure = go.Figure(
        go.Bar(
            x=[str(t) for t in times],
            y=objects,
            text=objects,
            marker_color="#0072B2",
            textposition="outside",
            cliponaxis=False,
        )
    )
    figure.update_layout(
        **LAYOUT,
        title=f"{objects.sum()} objects were photographed more than once",
        xaxis={"title": "photos of the object", "type": "category"},
        yaxis={"title": "objects", "range": [0, objects.max() * 1.15]},
    )
    return figure


def save(figures: dict[str, go.Figure]) -> None:
    """Photographs the figures in a headless browser, at twice their size."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, device_scale_factor=2)
        for name, figure in figures.items():
            html = Path(folder) / f"{name}.html"
            figure.write_html(html, config={"displayModeBar": False})
            page.goto(html.as_uri())
            page.wait_for_selector(".main-svg")
            page.screenshot(path=IMAGES / f"{name}.png", clip={"x": 0, "y": 0, **SIZE})
        browser.close()


def main() -> None:
    """Audits the photos, or reads the cached audit, and draws."""
    quiet_tensorflow()
    env = environment()
    photos = find_photos(env)
    scanned = scan(photos, env.cache)
    embeddings, found = embed_and_audit(photos, scanned, env.cache)
    rows = scanned[scanned.error.isna()]
    labels = rows.drop_duplicates("sha256").label.to_numpy()
    save(
        {
            "similarities": nearest_similarities(embeddings, labels),
            "group-sizes": group_sizes(found.facts.group.to_numpy()),
        }
    )


if __name__ == "__main__":
    main()
