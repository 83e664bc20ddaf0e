"""Curves of a run, as one SVG: panels below each other over the same time.

matplotlib is in the extra `bench`; without it, figures and verdict are there all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.steady import Point

_WIDTH_INCHES, _PANEL_INCHES = 10.0, 1.9
_MOST_POINTS = 200
"""A curve says no more with more of them, and the file grows."""


class NoMatplotlib(Exception):
    """The library that draws is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Curves by name, in one unit. `marks` are moments that get a line, by what happened."""

    title: str
    curves: Mapping[str, Sequence[Point]]
    is_logarithmic: bool = False
    marks: Sequence[tuple[float, str]] = field(default_factory=tuple)


def draw(path: Path, title: str, panels: Sequence[Panel], unit: str = "seconds") -> None:
    """Write them there. Raises `NoMatplotlib`."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - not everybody draws
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as problem:
        raise NoMatplotlib("the curves want matplotlib (the extra `bench`)") from problem
    # Text as text: smaller, and it can be searched. The same run gives the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 8}):
        size = (_WIDTH_INCHES, _PANEL_INCHES * len(panels) + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        every = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
        for axes, panel in zip(every.flat, panels, strict=True):
            for name, points in panel.curves.items():
                thinned = thin(points)
                axes.plot(
                    [at for at, _ in thinned], [value for _, value in thinned], lw=1, label=name
                )
            if panel.is_logarithmic:
                axes.set_yscale("log")
            else:
                axes.set_ylim(bottom=0)
            for at, words in panel.marks:
                axes.axvline(at, color="0.6", lw=0.7, ls=":")
                axes.annotate(
                    words,
                    (at, 1),
                    xycoords=("data", "axes fraction"),
                    rotation=90,
                    va="top",
                    ha="right",
                    fontsize=6,
                    color="0.4",
                )
            axes.set_title(panel.title, loc="left")
            axes.grid(visible=True, lw=0.3)
            if len(panel.curves) > 1:
                # Above the panel, where no curve is.
                axes.legend(
                    loc="lower right",
                    bbox_to_anchor=(1, 1),
                    borderaxespad=0,
                    frameon=False,
                    fontsize=6,
                    ncols=4,
                )
        every.flat[-1].set_xlabel(unit)
        every.flat[-1].xaxis.set_major_formatter("{x:,.0f}")
        figure.suptitle(title)
        figure.savefig(path, format="svg", metadata={"Date": None})


def thin(points: Sequence[Point]) -> Sequence[Point]:
    """The same curve with fewer points: of several that follow, the highest one is kept."""
    step = -(-len(points) // _MOST_POINTS)
    if step <= 1:
        return points
    return [
        max(points[at : at + step], key=lambda point: point[1])
        for at in range(0, len(points), step)
    ]
