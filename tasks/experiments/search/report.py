"""A search's report: one HTML file without network: table, winner, and plots by Optuna as inline SVG.

It holds no date: the same trials give the same report.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tasks.config import Line
from tasks.experiments.search import study
from tasks.experiments.search.records import Search, TrialResult

if TYPE_CHECKING:
    from markupsafe import Markup
    from optuna import Study

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_MOST_KEYS = 12
"""Axes of a parallel plot, and panels of a slice plot, that can still be read."""


class Figure(NamedTuple):
    """A plot with what it shows."""

    title: str
    reading: str
    svg: Markup


def render_report(line: Line, search: Search, summary: Mapping[str, Any], finished: Sequence[TrialResult]) -> str:
    """Render the report.

    Args:
        line: Whose search.
        search: What was asked.
        summary: What came of it, as `summary.SearchSummary` has it.
        finished: The trials with a result.
    """
    import jinja2

    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATE.parent), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    page.filters["shown"] = shown
    page.filters["as_yaml"] = as_yaml
    keys = list(search.space)
    # The order of the table: best first, then what was ended early or failed, by number.
    sign = -1 if search.better == "higher" else 1
    trials = sorted(
        summary["trials"],
        key=lambda trial: (trial["value"] is None, sign * (trial["value"] or 0.0), trial["number"]),
    )
    template = page.get_template(_TEMPLATE.name)
    return template.render(
        line=line, search=search, summary=summary, trials=trials, keys=keys, figures=figures(search, finished)
    )


def figures(search: Search, finished: Sequence[TrialResult]) -> list[Figure]:
    """The plots that there are enough trials for."""
    from optuna.visualization import matplotlib as plots

    search, finished = _without_formulas(search, finished)
    complete = [result for result in finished if result.value is not None]
    if len(complete) < 2:
        return []
    made = study.study_of(search, finished)
    varied = [key for key in search.space if len({repr(result.params[key]) for result in complete}) > 1][:_MOST_KEYS]
    what = f"{search.metric} {search.where or ''}".strip()
    found = [
        Figure(
            "How the search went", "Each trial's value, and the best so far.",
            _svg(lambda: plots.plot_optimization_history(made, target_name=what), wide=True),
        )
    ]  # fmt: skip
    shares, by = study.importances(search, finished)
    if shares:
        found.append(
            Figure("What mattered", f"The share of the spread of values that each key explains by itself ({by}); of "
                   "few trials, a hint at best.", _importances(made, list(shares)))
        )  # fmt: skip
    if len(varied) > 1:
        found.append(
            Figure("All trials side by side", "A line for each trial; the darker, the better.",
                   _svg(lambda: plots.plot_parallel_coordinate(made, params=varied, target_name=what), wide=True))
        )  # fmt: skip
    if varied:
        found.append(
            Figure("Key by key", "Each trial's value against each key; the darker, the later the trial.",
                   _svg(lambda: plots.plot_slice(made, params=varied, target_name=what), wide=True))
        )  # fmt: skip
    if any(len(result.epochs) > 1 for result in finished):
        found.append(
            Figure("Epoch by epoch", "What each trial's training reported; a line that stops early was ended early.",
                   _svg(lambda: plots.plot_intermediate_values(made), wide=True))
        )  # fmt: skip
    return found


def _without_formulas(search: Search, finished: Sequence[TrialResult]) -> tuple[Search, list[TrialResult]]:
    """The same with every dollar sign escaped: matplotlib takes what stands between two for a formula, and may fail."""

    def plain(value: Any) -> Any:
        return value.replace("$", r"\$") if isinstance(value, str) else value

    space = {key: [plain(one) for one in found] if isinstance(found, list) else found
             for key, found in search.space.items()}  # fmt: skip
    results = [result.model_copy(update={"params": {key: plain(value) for key, value in result.params.items()}})
               for result in finished]  # fmt: skip
    return search.model_copy(update={"space": space}), results


def _importances(made: Study, keys: list[str]) -> Markup:
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization import matplotlib as plots

    evaluator = FanovaImportanceEvaluator(seed=0)
    return _svg(lambda: plots.plot_param_importances(made, evaluator=evaluator, params=keys))


def _svg(draw: Callable[[], Any], *, wide: bool = False) -> Markup:
    """Draw a plot of Optuna's as SVG that stands in a page: text as text, no date, ids that follow from the content."""
    import matplotlib

    matplotlib.use("Agg")
    from markupsafe import Markup
    from matplotlib import pyplot

    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nightscope", "font.size": 10}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = draw()
            figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
            _plainly(figure)
            figure.set_size_inches(max(11.0 if wide else 6.4, figure.get_size_inches()[0]), 4.4)
            _slanted(figure)
            sink = io.StringIO()
            figure.savefig(sink, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
        pyplot.close("all")
    text = sink.getvalue()
    return Markup(re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S))


def _plainly(figure: Any) -> None:
    """Without the titles, which stand over the plot already, and on the page's own ground."""
    figure.suptitle("")
    for axes in figure.axes:
        for place in ("left", "center", "right"):
            axes.set_title("", loc=place)
        axes.set_facecolor("#f7f6f2")
        axes.grid(color="#e3e0d8")


def _slanted(figure: Any) -> None:
    """With long names of values aslant: those of networks would run into each other."""
    figure.canvas.draw()  # until then, ticks have no text
    for axes in figure.axes:
        for label in axes.get_xticklabels():
            text = label.get_text()
            if len(text) > 6 and not text.startswith("$\\mathdefault") and not label.get_rotation():
                label.set(rotation=30, horizontalalignment="right", rotation_mode="anchor")


def as_yaml(value: Any) -> str:
    """A value as it stands in a space's file, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def shown(value: Any) -> str:
    """A value of a recipe or a metric for a table: floats without what nobody reads."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
