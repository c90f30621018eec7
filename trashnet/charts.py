"""Plotly figures from plain data. One colour per class, the same in every figure.

Only `plotly.graph_objects`: importing `plotly.express` would add 0.4 s to the app's start.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

_COLOURS = ("#E69F00", "#56B4E9", "#0072B2", "#009E73", "#CC79A7", "#7F7F7F")

_MORE_COLOURS = ("#D55E00", "#8C6BB1", "#A6761D", "#66A61E", "#1B9E9E", "#B2182B")

_TRAIN, _VALIDATION = "#56B4E9", "#E69F00"

_SPLIT_ALPHA = {"train": 1.0, "validation": 0.6, "test": 0.35}

_TEXT = "#6F7A75"
"""A grey that can be read on the light page (4.3 : 1) and on the dark one (4.5 : 1)."""

_CLEAR = "rgba(0, 0, 0, 0)"

_SCALE = [[0.0, "rgba(0, 114, 178, 0.0)"], [1.0, "rgba(0, 114, 178, 0.95)"]]

_SHARE: dict[str, Any] = {"tickformat": ".0%"}

_FROM_TOP = {"autorange": "reversed"}

_LAYOUT: dict[str, Any] = {
    "paper_bgcolor": _CLEAR,
    "plot_bgcolor": _CLEAR,
    "bargap": 0.25,
    "hoverlabel": {"bgcolor": "#0F1A16", "font_color": "#FFFFFF"},
}
"""What all figures share, for both themes. Not a `layout.template`: Streamlit's theme overwrites
a template's colours, grid and margins, and leaves those of the figure itself alone."""

_AXIS: dict[str, Any] = {
    "automargin": True,
    "fixedrange": True,
    "gridcolor": "rgba(128, 128, 128, 0.25)",
    "tickfont_color": _TEXT,
    "title_font_color": _TEXT,
}

_CURVES: dict[str, Any] = {
    "hovermode": "x unified",
    "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
}


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """Returns each class's colour; colour-blind safe for the first six (Okabe & Ito 2008)."""
    colours = _COLOURS + _MORE_COLOURS
    return {name: colours[i % len(colours)] for i, name in enumerate(classes)}


def class_balance(counts: pd.DataFrame, classes: Sequence[str], title: str) -> go.Figure:
    """Draws photos per class as stacked bars.

    Args:
        counts: Rows are splits, columns classes, values numbers of photos.
        classes: Class names, in order.
        title: The finding.
    """
    colours = class_colours(classes)
    counts = counts[list(classes)]
    bars = [
        _bars(
            numbers,
            classes,
            [_faded(colours[c], _SPLIT_ALPHA.get(split, 1.0)) for c in classes],
            f"%{{y}}, {split}: %{{x}} photos<extra></extra>",
            name=split,
        )
        for split, numbers in counts.iterrows()
    ]
    totals = counts.sum()
    text = [f"  {total:,} ({total / totals.sum():.0%})" for total in totals]
    labels = {"mode": "text", "text": text, "textposition": "middle right", "cliponaxis": False}
    sums = go.Scatter(x=totals, y=classes, hoverinfo="skip", showlegend=False, **labels)
    x: dict[str, Any] = {"title": "photos; train, validation and test from dark to light"}
    x["range"] = [0, totals.max() * 1.18]
    height = 120 + 42 * len(classes)
    return _figure([*bars, sums], title, height, x, _FROM_TOP, grid="x", barmode="stack")


def _faded(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"


def training_curves(epochs: pd.DataFrame, metric: str, total: int) -> go.Figure:
    """Draws one metric over the epochs, for train and validation.

    Args:
        epochs: Rows with `epoch`, the metric and `val_` plus the metric.
        metric: `loss` or `accuracy`.
        total: Epochs planned, so that the axis does not grow under the reader.
    """
    curves = [
        _curve(epochs, metric, "train, augmented", _TRAIN),
        _curve(epochs, f"val_{metric}", "validation", _VALIDATION),
    ]
    first = epochs.epoch.min() if len(epochs) else 1  # 0 where a pretrained network starts
    total = max(1, total)
    x = {"title": "epoch", "range": [first - 0.5, total + 0.5], "dtick": max(1, total // 10)}
    y: dict[str, Any] = {"title": "loss (nats)" if metric == "loss" else metric}
    if metric == "accuracy":
        y |= _SHARE | {"range": [0, 1]}
    return _figure(curves, metric.capitalize(), 280, x, y, **_CURVES)


def compared_curves(epochs: Mapping[str, pd.DataFrame], metric: str) -> go.Figure:
    """Draws one metric of two runs over their epochs.

    Args:
        epochs: Rows with `epoch` and the metric, by the run's name.
        metric: `val_accuracy` or `val_loss`.
    """
    runs = zip(epochs.items(), (_TRAIN, _VALIDATION), strict=False)
    curves = [_curve(table, metric, run, colour) for (run, table), colour in runs]
    name = metric.removeprefix("val_")
    y = {"title": name, "tickformat": ".0%" if name == "accuracy" else None}
    return _figure(curves, f"Validation {name}", 300, {"title": "epoch"}, y, **_CURVES)


def _curve(epochs: pd.DataFrame, column: str, name: str, colour: str) -> go.Scatter:
    """Returns one metric over the epochs, empty where it was not recorded."""
    x, y = (epochs.epoch, epochs[column]) if column in epochs else ([], [])
    hover = f"epoch %{{x}}, {name}: %{{y:.3f}}<extra></extra>"
    mode = "lines+markers" if len(epochs) < 30 else "lines"
    return _line(x, y, colour, hover, mode, name=name, line_width=2.5)


def confusion(
    matrix: Sequence[Sequence[int]],
    classes: Sequence[str],
    title: str,
    dark: bool = False,
    as_shares: bool = False,
    totals: str | None = None,
) -> go.Figure:
    """Draws a confusion matrix whose cells can be clicked.

    A click selects the cell's marker, whose `customdata` is (true class, predicted class);
    Streamlit gets no event from a heatmap alone.

    Args:
        matrix: Rows are true classes, columns predicted ones, values numbers of photos.
        classes: Class names, in the order of both.
        title: The finding.
        dark: Whether the page is dark, so that pale cells get light numbers.
        as_shares: Whether cells show percentages of their row instead of numbers of photos.
        totals: The name for all classes together; adds a row and a column of sums with this name,
            which can be clicked too. Their percentages are of all photos.
    """
    n, names = len(classes), list(classes)
    counts = np.asarray(matrix)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    cells = [
        (true, predicted, counts[true, predicted], share, f" of {classes[true]}")
        for (true, predicted), share in np.ndenumerate(shares)
    ]
    if totals is not None:
        names.append(totals)
        photos = counts.sum()
        sums = [(i, n, count) for i, count in enumerate(counts.sum(axis=1))]
        sums += [(n, i, count) for i, count in enumerate(counts.sum(axis=0))]
        cells += [(*where, count, count / max(1, photos), " of all") for *where, count in sums]
        cells.append((n, n, photos, 1.0, ""))
    at = list(range(n))
    scale = {"zmin": 0, "zmax": 1, "colorscale": _SCALE, "showscale": False}
    heatmap = go.Heatmap(x=at, y=at, z=shares.tolist(), hoverinfo="skip", xgap=2, ygap=2, **scale)
    clickable = go.Scatter(
        x=[predicted for _, predicted, *_ in cells],
        y=[true for true, *_ in cells],
        mode="markers",
        marker={"symbol": "square", "size": 40, "color": _CLEAR},
        customdata=[(names[true], names[predicted]) for true, predicted, *_ in cells],
        text=[f"{count} photos, {share:.0%}{of}" for _, _, count, share, of in cells],
        hovertemplate="true %{customdata[0]}, predicted %{customdata[1]}: %{text}<extra></extra>",
        showlegend=False,
        # A click changes the look of no cell.
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
    )
    numbers = []
    for true, predicted, count, share, _ in cells:
        text = (f"{share:.0%}" if as_shares else str(count)) if count else "·"
        light = dark or (share > 0.45 and n not in (true, predicted))
        font = {"size": 14, "color": "#FFFFFF" if light else "#0F1A16"}
        numbers.append({"x": predicted, "y": true, "text": text, "showarrow": False, "font": font})
    end = len(names) - 0.5
    axis = {"tickvals": list(range(len(names))), "ticktext": names, "zeroline": False}
    return _figure(
        [heatmap, clickable],
        title,
        130 + 52 * len(names),
        axis | {"title": "predicted class", "range": [-0.5, end], "tickangle": -30},
        axis | {"title": "true class", "range": [end, -0.5]},
        grid="",
        annotations=numbers,
        dragmode=False,
        hovermode="closest",
        hoverdistance=-1,
        clickmode="event+select",
    )


def probability_bars(probabilities: Mapping[str, float], classes: Sequence[str]) -> go.Figure:
    """Draws a photo's probabilities as bars, the most probable class first."""
    ranked = sorted(probabilities, key=lambda c: -probabilities[c])
    values = [probabilities[c] for c in ranked]
    colours = [class_colours(classes)[c] for c in ranked]
    text = {"text": [f"{value:.1%}" for value in values], "textposition": "outside"}
    bars = _bars(values, ranked, colours, "%{y}: %{x:.2%}<extra></extra>", **text)
    x = {"range": [0, 1.12], "visible": False}
    return _figure([bars], None, 40 + 34 * len(ranked), x, _FROM_TOP, grid="", bargap=0.35)


def class_counts(counts: Mapping[str, int], classes: Sequence[str]) -> go.Figure:
    """Draws the number of photos predicted as each class as the parts of one bar."""
    colours = class_colours(classes)
    inside = {"textposition": "inside", "insidetextanchor": "middle"}
    bars = [
        _bars(
            [count],
            [""],
            colours[name],
            f"{name}: %{{x}} photos<extra></extra>",
            name=name,
            text=[f"{name} {count}" if count else ""],
            **inside,
        )
        for name, count in counts.items()
    ]
    hidden = {"visible": False}
    return _figure(bars, None, 72, hidden, hidden, grid="", barmode="stack")


def recall_bars(recall: Sequence[float], classes: Sequence[str]) -> go.Figure:
    """Draws each class's recall, the share of its photos that were recognised."""
    colours = list(class_colours(classes).values())
    text = {"text": [f"{value:.0%}" for value in recall], "textposition": "outside"}
    bars = _bars(recall, classes, colours, "%{y}: recall %{x:.1%}<extra></extra>", **text)
    x = _SHARE | {"title": "recall on validation photos", "range": [0, 1.12]}
    return _figure([bars], "Recall by class", 110 + 30 * len(classes), x, _FROM_TOP, grid="x")


def reliability(
    before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]], title: str
) -> go.Figure:
    """Draws accuracy against confidence, before and after temperature; best on the diagonal.

    Args:
        before: Bins of n, confidence and accuracy.
        after: The same, after temperature.
        title: The finding.
    """
    unnamed: dict[str, Any] = {"hoverinfo": "skip", "showlegend": False}
    lines = [_line([0, 1], [0, 1], _TEXT, None, line_dash="dot", **unnamed)]
    for bins, name, colour in (
        (before, "before", _VALIDATION),
        (after, "after temperature", _TRAIN),
    ):
        confidence, accuracy, n = ([b[k] for b in bins] for k in ("confidence", "accuracy", "n"))
        hover = (
            f"confidence %{{x:.1%}}, right %{{y:.1%}}, %{{customdata}} photos<extra>{name}</extra>"
        )
        line = _line(confidence, accuracy, colour, hover, "lines+markers", name=name, customdata=n)
        lines.append(line)
    low = min([b[k] for b in (*before, *after) for k in ("confidence", "accuracy")], default=0)
    axis = _SHARE | {"range": [max(0, low - 0.05), 1.01]}
    return _figure(lines, title, 380, axis | {"title": "confidence"}, axis | {"title": "right"})


def accuracy_coverage(ways: pd.DataFrame, threshold: float, title: str) -> go.Figure:
    """Draws the accuracy of confident predictions against their share, and marks a threshold.

    Args:
        ways: Rows of threshold, coverage and accuracy (`evaluation.metrics`).
        threshold: The one in use.
        title: The finding.
    """
    hover = (
        "sure from %{customdata:.1%} confidence on: %{x:.1%} of the photos, "
        "%{y:.1%} of them right<extra></extra>"
    )
    more = {"customdata": ways.threshold, "showlegend": False}
    curve = _line(ways.coverage, ways.accuracy, _TRAIN, hover, **more)
    at = ways[ways.threshold >= threshold].tail(1)
    mark = go.Scatter(
        x=at.coverage,
        y=at.accuracy,
        mode="markers",
        marker={"color": _VALIDATION, "size": 13, "symbol": "diamond"},
        hovertemplate="the threshold<extra></extra>",
        showlegend=False,
    )
    x = _SHARE | {"title": "sure", "range": [0, 1.01]}
    return _figure([curve, mark], title, 380, x, _SHARE | {"title": "of these right"})


def precision_recall_curves(curves: pd.DataFrame, classes: Sequence[str], title: str) -> go.Figure:
    """Draws precision against recall, a line a class.

    Args:
        curves: Rows of label, threshold, precision, recall and average_precision
            (`trashnet.evaluation.report_tables.precision_recall`).
        classes: Class names, in order.
        title: The finding.
    """
    colours = class_colours(classes)
    lines = [
        _line(
            curve.recall,
            curve.precision,
            colours[name],
            f"{name}: from %{{customdata:.1%}} on, precision %{{y:.1%}}, "
            "recall %{x:.1%}<extra></extra>",
            customdata=curve.threshold,
            name=f"{name} {curve.average_precision.iloc[0]:.3f}",
            line_width=2.5,
            line_shape="hv",
        )
        for name, curve in curves.groupby("label", sort=False)
    ]
    axis = _SHARE | {"range": [0, 1.01]}
    x, y = axis | {"title": "recall"}, axis | {"title": "precision"}
    return _figure(lines, title, 400, x, y, legend_title="average precision")


def robustness_bars(rows: Sequence[Mapping[str, Any]], plain: float, title: str) -> go.Figure:
    """Draws the change of accuracy by each transformation and strength as bars.

    Args:
        rows: Of transformation, strength, unit, n, accuracy and change.
        plain: The accuracy of unchanged photos.
        title: The finding.
    """
    shown = [row for row in rows if row["change"] is not None]
    bars = _bars(
        [row["change"] for row in shown],
        [f"{row['transformation'].replace('_', ' ')} {row['strength']:g}" for row in shown],
        [_VALIDATION if row["change"] < -0.05 else _TRAIN for row in shown],
        "%{y} %{customdata[2]}: %{customdata[0]:.1%} of %{customdata[1]} right, "
        "%{x:+.1%}<extra></extra>",
        customdata=[[row["accuracy"], row["n"], row["unit"]] for row in shown],
    )
    x = {"title": f"change from {plain:.1%}", "tickformat": "+.0%"}
    return _figure([bars], title, 90 + 22 * len(shown), x, _FROM_TOP)


def quality_boxes(
    index: pd.DataFrame, quality: str, classes: Sequence[str], title: str | None = None
) -> go.Figure:
    """Draws one quality's spread in each class: median, middle half, and the middle 90 %.

    Args:
        index: Rows of label and the quality.
        quality: Its column.
        classes: Class names, in order.
        title: The finding.
    """
    colours = class_colours(classes)
    parts = {0.05: "lowerfence", 0.25: "q1", 0.5: "median", 0.75: "q3", 0.95: "upperfence"}
    spread = index.groupby("label")[quality].quantile(list(parts)).unstack().rename(columns=parts)
    boxes = [
        go.Box(
            spread.loc[[name]].to_dict("list"),
            y=[name],
            orientation="h",
            name=name,
            marker_color=colours[name],
            showlegend=False,
        )
        for name in classes
        if name in spread.index
    ]
    x = {"title": f"{quality} (box: middle half, line: middle 90 %)"}
    return _figure(boxes, title, 90 + 34 * len(classes), x, _FROM_TOP, grid="x")


def colour_histogram(shares: Sequence[Sequence[float]], highest: float) -> go.Figure:
    """Draws how often each red, green and blue occurs, as three lines.

    Args:
        shares: `(3, bins)`, shares of the pixels.
        highest: End of the axis, so that classes can be compared.
    """
    colours = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2"}
    lines = []
    for (name, colour), values in zip(colours.items(), shares, strict=True):
        centres = [256 / len(values) * (i + 0.5) for i in range(len(values))]
        hover = f"{name} around %{{x:.0f}}: %{{y:.1%}} of the pixels<extra></extra>"
        look: dict[str, Any] = {"line_width": 2, "line_shape": "spline", "showlegend": False}
        lines.append(_line(centres, list(values), colour, hover, name=name, **look))
    x = {"title": "red, green, blue (0 to 255)", "range": [0, 256], "dtick": 64}
    y = _SHARE | {"range": [0, 1.05 * highest], "nticks": 4}
    return _figure(lines, None, 150, x, y, grid="y")


def photo_map(
    places: pd.DataFrame, colours: Mapping[str, str], title: str, few: int = 6000
) -> go.Figure:
    """Draws photos as points that can be selected.

    Args:
        places: Rows of file, map_x, map_y and kind (what decides the colour).
        colours: The colour of each kind, in the order in which they are drawn.
        title: The finding.
        few: Points up to which each is drawn as a shape; more are drawn on the graphics card.
    """
    draw, size = (go.Scatter, 6) if len(places) <= few else (go.Scattergl, 4)
    points = []
    for kind, colour in colours.items():
        rows = places[places.kind == kind]
        trace = draw(
            x=rows.map_x,
            y=rows.map_y,
            mode="markers",
            name=f"{kind} ({len(rows):,})",
            customdata=rows.file,
            marker={"color": colour, "size": size, "opacity": 0.75},
            hovertemplate="%{customdata}<extra>" + kind + "</extra>",
            unselected={"marker": {"opacity": 0.12}},
        )
        points.append(trace)
    x = {"showticklabels": False, "zeroline": False, "fixedrange": False}
    y = x | {"scaleanchor": "x"}
    legend = {"orientation": "h", "y": -0.02, "itemsizing": "constant"}
    return _figure(points, title, 560, x, y, grid="", dragmode="lasso", legend=legend)


def leak_bars(rows: pd.DataFrame, title: str) -> go.Figure:
    """Draws the share of its test photos that each way of splitting leaks, as bars.

    Args:
        rows: Of way, leaked and tested (numbers of photos).
        title: The finding.
    """
    counts = zip(rows.leaked, rows.tested, strict=True)
    text = {"text": [f"  {leaked:,} of {n:,}" for leaked, n in counts], "textposition": "outside"}
    share, hover = rows.leaked / rows.tested, "%{y}: %{x:.1%}<extra></extra>"
    bars = _bars(share, rows.way, _VALIDATION, hover, **text)
    x = _SHARE | {"title": "of the test photos", "range": [0, 1.35]}
    x["tickvals"] = [0, 0.25, 0.5, 0.75, 1]
    return _figure([bars], title, 110 + 42 * len(rows), x, _FROM_TOP, grid="x")


def _bars(x: Any, y: Any, colours: str | Sequence[str], hover: str, **more: Any) -> go.Bar:
    """Returns horizontal bars, whose labels may stand past the end of the axis."""
    look = {"orientation": "h", "cliponaxis": False, "showlegend": False}
    return go.Bar(x=x, y=y, marker_color=colours, hovertemplate=hover, **look, **more)


def _line(
    x: Any, y: Any, colour: str, hover: str | None, mode: str = "lines", **more: Any
) -> go.Scatter:
    return go.Scatter(x=x, y=y, mode=mode, line_color=colour, hovertemplate=hover, **more)


def _figure(
    traces: Sequence[Any],
    title: str | None,
    height: int,
    x: dict[str, Any],
    y: dict[str, Any],
    grid: str = "xy",
    **layout: Any,
) -> go.Figure:
    """Returns a figure with a short title, thin grid lines and small margins.

    Args:
        traces: What it shows.
        title: The finding; without one, the figure starts at the top.
        height: In pixels.
        x: How the horizontal axis differs from `_AXIS`.
        y: The same of the vertical axis.
        grid: The axes with grid lines: `x`, `y`, both or none.
        **layout: How the rest differs from `_LAYOUT`.
    """
    heading = {"text": title, "font_size": 15, "x": 0, "xanchor": "left"} if title else None
    own = {
        "title": heading,
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 46 if title else 8, "b": 8},
        "xaxis": _AXIS | {"showgrid": "x" in grid} | x,
        "yaxis": _AXIS | {"showgrid": "y" in grid} | y,
    }
    return go.Figure(traces, _LAYOUT | own | layout)
