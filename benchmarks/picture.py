"""The picture of docs/performance.md: what one notification costs as sessions grow."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cases import Measured, cost_curve
from benchmarks.processes import PeerMissing


def draw(measured: Measured, path: Path) -> None:
    """Write an SVG.

    Raises:
        PeerMissing: without matplotlib.
    """
    try:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise PeerMissing("matplotlib is not installed; the extra `bench` brings it (no picture)") from error
    mpl.rcParams["svg.hashsalt"] = "loadgen"  # the same picture of the same figures
    curve = cost_curve(measured)
    sessions = [point[0] for point in curve]
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    for column, label, marker, below in ((1, "WLC side (sends)", "o", -15), (2, "MSE side (receives)", "s", 7)):
        costs = [point[column] for point in curve]
        axes.plot(sessions, costs, marker=marker, label=label)
        for x, y in zip(sessions, costs, strict=True):
            axes.annotate(f"{y:.1f}", (x, y), textcoords="offset points", xytext=(0, below), ha="center")
    axes.set_xscale("log")
    axes.set_xticks(sessions, [f"{n:,}" for n in sessions])
    axes.minorticks_off()
    axes.set_ylim(0, 1.25 * max(max(point[1:]) for point in curve))
    axes.set_xlabel("sessions, one worker a side")
    axes.set_ylabel("CPU per notification, µs")
    axes.set_title("20,000 notifications/s in all, one per write")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
