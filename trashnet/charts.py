"""Plotly figures from plain data. One colour per class, the same in every figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

_COLOURS = ("#E69F00", "#56B4E9", "#0072B2", "#009E73", "#CC79A7", "#7F7F7F")

_MORE_COLOURS = ("#D55E00", "#8C6BB1", "#A6761D", "#66A61E", "#1B9E9E", "#B2182B")

_TRAIN, _VALIDATION = "#56B4E9", "#E69F00"

_SPLIT_ALPHA = {"train": 1.0, "validation": 0.6, "test": 0.35}

_TEXT = "#6F7A75"
"""A grey that is read on the light page (4.3 : 1) as on the dark one (4.5 : 1)."""

_GRID = "rgba(128, 128, 128, 0.25)"

_SCALE = [[0.0, "rgba(0, 114, 178, 0.0)"], [1.0, "rgba(0, 114, 178, 0.95)"]]


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
    figure = go.Figure()
    for split in counts.index:
        numbers = counts.loc[split, list(classes)]
        figure.add_bar(
            y=list(classes),
            x=numbers,
            orientation="h",
            name=split,
            marker_color=[_faded(colours[c], _SPLIT_ALPHA.get(split, 1.0)) for c in classes],
            hovertemplate="%{y}, " + split + ": %{x} photos<extra></extra>",
            showlegend=False,
        )
    totals = counts[list(classes)].sum()
    figure.add_scatter(
        y=list(classes),
        x=totals,
        mode="text",
        text=[f"  {total:,} ({total / totals.sum():.0%})" for total in totals],
        textposition="middle right",
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
    )
    figure.update_layout(barmode="stack", height=120 + 42 * len(classes))
    figure.update_xaxes(
        title="photos; train, validation and test from dark to light",
        range=[0, totals.max() * 1.18],
    )
    figure.update_yaxes(autorange="reversed", title=None)
    return _finish(figure, title, grid="x")


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
    figure = go.Figure()
    for column, name, colour in (
        (metric, "train, augmented", _TRAIN),
        (f"val_{metric}", "validation", _VALIDATION),
    ):
        figure.add_scatter(
            x=epochs.epoch if column in epochs else [],
            y=epochs[column] if column in epochs else [],
            name=name,
            mode="lines+markers" if len(epochs) < 30 else "lines",
            line={"color": colour, "width": 2.5},
            hovertemplate=f"epoch %{{x}}, {name}: %{{y:.3f}}<extra></extra>",
        )
    first = epochs.epoch.min() if len(epochs) else 1  # 0 where a pretrained network starts
    figure.update_xaxes(
        title="epoch", range=[first - 0.5, max(1, total) + 0.5], dtick=max(1, total // 10)
    )
    figure.update_yaxes(title="loss (nats)" if metric == "loss" else metric)
    if metric == "accuracy":
        figure.update_yaxes(tickformat=".0%", range=[0, 1])
    figure.update_layout(
        height=280,
        hovermode="x unified",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
    )
    return _finish(figure, metric.capitalize())


def compared_curves(epochs: Mapping[str, pd.DataFrame], metric: str) -> go.Figure:
    """Draws one metric of several runs over their epochs.

    Args:
        epochs: Rows with `epoch` and the metric, by the run's name.
        metric: `val_accuracy` or `val_loss`.
    """
    figure = go.Figure()
    for (name, table), colour in zip(epochs.items(), (_TRAIN, _VALIDATION), strict=False):
        known = metric in table
        figure.add_scatter(
            x=table.epoch if known else [],
            y=table[metric] if known else [],
            name=name,
            mode="lines+markers" if len(table) < 30 else "lines",
            line={"color": colour, "width": 2.5},
            hovertemplate=f"epoch %{{x}}, {name}: %{{y:.3f}}<extra></extra>",
        )
    accuracy = metric == "val_accuracy"
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title=metric.replace("val_", ""), tickformat=".0%" if accuracy else None)
    figure.update_layout(
        height=300,
        hovermode="x unified",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
    )
    return _finish(figure, f"Validation {metric.removeprefix('val_')}")


def confusion(
    matrix: Sequence[Sequence[int]],
    classes: Sequence[str],
    title: str,
    dark: bool = False,
    as_shares: bool = False,
    totals: str | None = None,
) -> go.Figure:
    """Draws a confusion matrix whose cells can be clicked.

    A click selects the cell's marker, whose `customdata` is (true class, predicted class); a
    heatmap alone tells Streamlit nothing of a click.

    Args:
        matrix: Rows are true classes, columns predicted ones, values numbers of photos.
        classes: Class names, in the order of both.
        title: The finding.
        dark: Whether the page is dark, so that pale cells get light numbers.
        as_shares: Whether cells show percentages of their row instead of numbers of photos.
        totals: What stands for every class; adds a row and a column of sums by this name, which can
            be clicked too. Their percentages are of all photos.
    """
    n = len(classes)
    shares = [[count / max(1, sum(row)) for count in row] for row in matrix]
    cells = [
        (true, predicted, matrix[true][predicted], shares[true][predicted], f" of {classes[true]}")
        for true in range(n)
        for predicted in range(n)
    ]
    names = list(classes)
    if totals is not None:
        names.append(totals)
        by_true, by_predicted = map(sum, matrix), map(sum, zip(*matrix, strict=True))
        sums = [(i, n, count) for i, count in enumerate(by_true)]
        sums += [(n, i, count) for i, count in enumerate(by_predicted)]
        photos = sum(map(sum, matrix))
        cells += [(*where, count, count / max(1, photos), " of all") for *where, count in sums]
        cells.append((n, n, photos, 1.0, ""))
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=list(range(n)),
            y=list(range(n)),
            zmin=0,
            zmax=1,
            colorscale=_SCALE,
            showscale=False,
            hoverinfo="skip",
            xgap=2,
            ygap=2,
        )
    )
    figure.add_scatter(
        x=[predicted for _, predicted, *_ in cells],
        y=[true for true, *_ in cells],
        mode="markers",
        marker={"symbol": "square", "size": 40, "color": "rgba(0, 0, 0, 0)"},
        customdata=[(names[true], names[predicted]) for true, predicted, *_ in cells],
        text=[f"{count} photos, {share:.0%}{of}" for _, _, count, share, of in cells],
        hovertemplate="true %{customdata[0]}, predicted %{customdata[1]}: %{text}<extra></extra>",
        showlegend=False,
        # What is not clicked stays as it is.
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
    )
    annotations = []  # given all at once: one by one, each is checked against those before
    for true, predicted, count, share, _ in cells:
        light = dark or (share > 0.45 and n not in (true, predicted))
        annotations.append(
            {
                "x": predicted,
                "y": true,
                "text": (f"{share:.0%}" if as_shares else str(count)) if count else "·",
                "showarrow": False,
                "font": {"size": 14, "color": "#FFFFFF" if light else "#0F1A16"},
            }
        )
    end = len(names) - 0.5
    axis = {"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.5, end]}
    figure.update_xaxes(**axis, title="predicted class", zeroline=False, tickangle=-30)
    figure.update_yaxes(**axis | {"range": [end, -0.5]}, title="true class", zeroline=False)
    figure.update_layout(
        annotations=annotations,
        height=130 + 52 * len(names),
        dragmode=False,
        hovermode="closest",
        hoverdistance=-1,
        clickmode="event+select",
    )
    return _finish(figure, title, grid="")


def probability_bars(probabilities: Mapping[str, float], classes: Sequence[str]) -> go.Figure:
    """Draws a photo's probabilities as bars, the most probable class first."""
    colours = class_colours(classes)
    ranked = sorted(probabilities, key=lambda c: -probabilities[c])
    figure = go.Figure(
        go.Bar(
            x=[probabilities[c] for c in ranked],
            y=ranked,
            orientation="h",
            marker_color=[colours[c] for c in ranked],
            text=[f"{probabilities[c]:.1%}" for c in ranked],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.2%}<extra></extra>",
        )
    )
    figure.update_xaxes(range=[0, 1.12], visible=False)
    figure.update_yaxes(autorange="reversed", title=None)
    figure.update_layout(height=40 + 34 * len(ranked), bargap=0.35)
    return _finish(figure, None, grid="")


def class_counts(counts: Mapping[str, int], classes: Sequence[str]) -> go.Figure:
    """Draws how many photos were given each class as one bar, a part a class."""
    colours = class_colours(classes)
    figure = go.Figure()
    for name, count in counts.items():
        figure.add_bar(
            x=[count],
            y=[""],
            orientation="h",
            name=name,
            marker_color=colours[name],
            text=[f"{name} {count}" if count else ""],
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate=f"{name}: %{{x}} photos<extra></extra>",
            showlegend=False,
        )
    figure.update_layout(barmode="stack", height=72)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return _finish(figure, None, grid="")


def recall_bars(recall: Sequence[float], classes: Sequence[str]) -> go.Figure:
    """Draws each class's recall, the share of its photos that were recognised."""
    colours = class_colours(classes)
    figure = go.Figure(
        go.Bar(
            x=list(recall),
            y=list(classes),
            orientation="h",
            marker_color=[colours[c] for c in classes],
            text=[f"{value:.0%}" for value in recall],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: recall %{x:.1%}<extra></extra>",
        )
    )
    figure.update_xaxes(range=[0, 1.12], tickformat=".0%", title="recall on validation photos")
    figure.update_yaxes(autorange="reversed", title=None)
    figure.update_layout(height=110 + 30 * len(classes))
    return _finish(figure, "Recall by class", grid="x")


def reliability(
    before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]], title: str
) -> go.Figure:
    """Draws accuracy against confidence, before and after temperature; the diagonal is honest.

    Args:
        before: Bins of n, confidence and accuracy.
        after: The same, after temperature.
        title: The finding.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": _TEXT, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    for bins, name, colour in (
        (before, "before", _VALIDATION),
        (after, "after temperature", _TRAIN),
    ):
        figure.add_scatter(
            x=[b["confidence"] for b in bins],
            y=[b["accuracy"] for b in bins],
            customdata=[b["n"] for b in bins],
            mode="lines+markers",
            name=name,
            line={"color": colour},
            hovertemplate="confidence %{x:.1%}, right %{y:.1%}, %{customdata} photos"
            f"<extra>{name}</extra>",
        )
    low = min([b[k] for b in (*before, *after) for k in ("confidence", "accuracy")], default=0)
    figure.update_xaxes(title="confidence", tickformat=".0%", range=[max(0, low - 0.05), 1.01])
    figure.update_yaxes(title="right", tickformat=".0%", range=[max(0, low - 0.05), 1.01])
    figure.update_layout(height=380)
    return _finish(figure, title)


def accuracy_coverage(ways: pd.DataFrame, threshold: float, title: str) -> go.Figure:
    """Draws how right the answers are against how many are given, and where a threshold stands.

    Args:
        ways: Rows of threshold, coverage and accuracy (`evaluation.metrics`).
        threshold: The one in use.
        title: The finding.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=ways.coverage,
        y=ways.accuracy,
        customdata=ways.threshold,
        mode="lines",
        line={"color": _TRAIN},
        hovertemplate="answers from %{customdata:.1%} confidence on: %{x:.1%} of the photos, "
        "%{y:.1%} of them right<extra></extra>",
        showlegend=False,
    )
    at = ways[ways.threshold >= threshold].tail(1)
    figure.add_scatter(
        x=at.coverage,
        y=at.accuracy,
        mode="markers",
        marker={"color": _VALIDATION, "size": 13, "symbol": "diamond"},
        hovertemplate="the threshold<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="answered", tickformat=".0%", range=[0, 1.01])
    figure.update_yaxes(title="of these right", tickformat=".0%")
    figure.update_layout(height=380)
    return _finish(figure, title)


def precision_recall_curves(curves: pd.DataFrame, classes: Sequence[str], title: str) -> go.Figure:
    """Draws precision against recall, a line a class.

    Args:
        curves: Rows of label, threshold, precision, recall and average_precision
            (`trashnet.evaluation.report_tables.precision_recall`).
        classes: Class names, in order.
        title: The finding.
    """
    colours = class_colours(classes)
    figure = go.Figure()
    for name, curve in curves.groupby("label", sort=False):
        average = curve.average_precision.iloc[0]
        figure.add_scatter(
            x=curve.recall,
            y=curve.precision,
            customdata=curve.threshold,
            mode="lines",
            name=f"{name} {average:.3f}",
            line={"color": colours[name], "width": 2.5, "shape": "hv"},
            hovertemplate=f"{name}: from %{{customdata:.1%}} on, precision %{{y:.1%}}, "
            "recall %{x:.1%}<extra></extra>",
        )
    figure.update_xaxes(title="recall", tickformat=".0%", range=[0, 1.01])
    figure.update_yaxes(title="precision", tickformat=".0%", range=[0, 1.01])
    figure.update_layout(height=400, legend={"title": "average precision"})
    return _finish(figure, title)


def robustness_bars(rows: Sequence[Mapping[str, Any]], plain: float, title: str) -> go.Figure:
    """Draws the change of accuracy by each transformation and strength as bars.

    Args:
        rows: Of transformation, strength, unit, n, accuracy and change.
        plain: The accuracy of unchanged photos.
        title: The finding.
    """
    figure = go.Figure()
    shown = [row for row in rows if row["change"] is not None]
    names = [f"{row['transformation'].replace('_', ' ')} {row['strength']:g}" for row in shown]
    figure.add_bar(
        y=names,
        x=[row["change"] for row in shown],
        orientation="h",
        marker_color=[_VALIDATION if row["change"] < -0.05 else _TRAIN for row in shown],
        customdata=[[row["accuracy"], row["n"], row["unit"]] for row in shown],
        hovertemplate="%{y} %{customdata[2]}: %{customdata[0]:.1%} of %{customdata[1]} right, "
        "%{x:+.1%}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title=f"change from {plain:.1%}", tickformat="+.0%")
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(height=90 + 22 * len(shown))
    return _finish(figure, title)


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
    spread = index.groupby("label")[quality].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
    figure = go.Figure()
    for name in classes:
        if name not in spread.index:
            continue
        low, first, median, third, high = spread.loc[name]
        figure.add_box(
            y=[name],
            q1=[first],
            median=[median],
            q3=[third],
            lowerfence=[low],
            upperfence=[high],
            orientation="h",
            name=name,
            marker_color=colours[name],
            showlegend=False,
        )
    figure.update_layout(height=90 + 34 * len(classes))
    figure.update_xaxes(title=f"{quality} (box: middle half, line: middle 90 %)")
    figure.update_yaxes(autorange="reversed")
    return _finish(figure, title, grid="x")


def colour_histogram(shares: Sequence[Sequence[float]], highest: float) -> go.Figure:
    """Draws how often each red, green and blue occurs, as three lines.

    Args:
        shares: `(3, bins)`, shares of the pixels.
        highest: End of the axis, so that classes can be compared.
    """
    figure = go.Figure()
    for name, colour, values in zip(
        ("red", "green", "blue"), ("#D55E00", "#009E73", "#0072B2"), shares, strict=True
    ):
        width = 256 / len(values)
        figure.add_scatter(
            x=[width * (i + 0.5) for i in range(len(values))],
            y=list(values),
            mode="lines",
            name=name,
            line={"color": colour, "width": 2, "shape": "spline"},
            hovertemplate=f"{name} around %{{x:.0f}}: %{{y:.1%}} of the pixels<extra></extra>",
            showlegend=False,
        )
    figure.update_layout(height=150)
    figure.update_xaxes(title="red, green, blue (0 to 255)", range=[0, 256], dtick=64)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.05 * highest], nticks=4)
    return _finish(figure, None, grid="y")


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
    figure = go.Figure()
    points = figure.add_scatter if len(places) <= few else figure.add_scattergl
    for kind, colour in colours.items():
        rows = places[places.kind == kind]
        points(
            x=rows.map_x,
            y=rows.map_y,
            mode="markers",
            name=f"{kind} ({len(rows):,})",
            customdata=rows.file,
            marker={"color": colour, "size": 6 if len(places) <= few else 4, "opacity": 0.75},
            hovertemplate="%{customdata}<extra>" + kind + "</extra>",
            unselected={"marker": {"opacity": 0.12}},
        )
    figure.update_layout(
        height=560,
        dragmode="lasso",
        legend={"orientation": "h", "y": -0.02, "itemsizing": "constant"},
    )
    hidden = {"showticklabels": False, "title": None, "zeroline": False, "showgrid": False}
    figure.update_xaxes(**hidden)
    figure.update_yaxes(**hidden, scaleanchor="x")
    figure = _finish(figure, title, grid="")
    figure.update_xaxes(fixedrange=False)
    return figure.update_yaxes(fixedrange=False)


def leak_bars(rows: pd.DataFrame, title: str) -> go.Figure:
    """Draws the share of its test photos that each way of splitting leaks, as bars.

    Args:
        rows: Of way, leaked and tested (numbers of photos).
        title: The finding.
    """
    share = rows.leaked / rows.tested
    figure = go.Figure()
    figure.add_bar(
        y=rows.way,
        x=share,
        orientation="h",
        marker_color=_VALIDATION,
        text=[f"  {leaked:,} of {n:,}" for leaked, n in zip(rows.leaked, rows.tested, strict=True)],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="of the test photos", tickformat=".0%", range=[0, 1.35])
    figure.update_xaxes(tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(height=110 + 42 * len(rows))
    return _finish(figure, title, grid="x")


def _finish(figure: go.Figure, title: str | None, grid: str = "xy") -> go.Figure:
    """What all figures share: a short title, thin grid, no wasted margins, both themes."""
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "x": 0, "xanchor": "left"} if title else None,
        margin={"l": 8, "r": 8, "t": 46 if title else 8, "b": 8},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        bargap=figure.layout.bargap or 0.25,
        hoverlabel={"bgcolor": "#0F1A16", "font": {"color": "#FFFFFF"}},
    )
    axes = {
        "automargin": True,
        "fixedrange": True,
        "gridcolor": _GRID,
        "tickfont": {"color": _TEXT},
        "title": {"font": {"color": _TEXT}},
    }
    figure.update_xaxes(**axes, showgrid="x" in grid)
    figure.update_yaxes(**axes, showgrid="y" in grid)
    return figure
