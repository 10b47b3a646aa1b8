"""What a person is shown who is asked whether a challenger may take charge. Markdown, as Airflow renders it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.config import Line
from tasks.errors import NothingToDo
from tasks.escaping import markdown, markdown_code, one_line
from tasks.promotion.gate_overrides import described, judged_differently, loosened, override_of
from tasks.promotion.verdict_rows import doubt, verdict_named
from tasks.schemas import Decision, Frozen, Verdict
from tasks.session import Session


class ApprovalRequest(Frozen):
    """A question to a person."""

    subject: str
    """A line of text."""
    body: str
    """Markdown."""


def approval_request(
    session: Session,
    name: str,
    changes: Mapping[str, Any] | None,
    verdict_id: str,
    *,
    report_url: str,
    dry_run: bool = False,
    override: bool = False,
    note: str = "",
    asked_by: str = "",
) -> ApprovalRequest:
    """Write the question to a person, with the numbers that it takes to answer it.

    Args:
        session: Whose verdict it is.
        name: The line.
        changes: Of the line, for this run.
        verdict_id: What the gates said.
        report_url: Where the verdict's report can be read.
        dry_run: Nothing will be promoted.
        override, note: Of the run, for a verdict by loosened gates; see `promote_model`.
        asked_by: Who triggered the night; empty: the clock.

    Raises:
        NothingToDo: There is nothing to ask: the gates said no (an approval cannot overrule them), they were loosened
            without an override, nothing will be promoted, or the verdict has been carried out already.
    """
    from tasks import evidence

    lake, line = session.lake, session.line(name, changes)
    verdict = verdict_named(lake, verdict_id)
    if verdict.verdict is not Decision.PROMOTE:
        raise NothingToDo(f"the verdict is {verdict.verdict}: there is nothing to approve")
    if dry_run:
        raise NothingToDo("dry run: nothing will be promoted, so nobody is asked")
    if done := evidence.find(lake, name, "night", verdict_id):
        raise NothingToDo(f"this verdict was carried out already ({done.outcome}, evidence {done.number})")
    found = judged_differently(lake, session.line(name), verdict, otherwise=line)
    if why := doubt(session.settings, verdict):
        raise NothingToDo(f"the verdict is not believed: {why}; nothing will be promoted, so nobody is asked")
    allowed = override_of(override, note, asked_by)
    if loosened(found) and allowed is None:
        raise NothingToDo(
            f"{described(found)} Without an override and a note nothing will be promoted, so nobody is asked"
        )
    marks = [markdown(described(found))] if found else []
    marks += [f"The run overrides that: {markdown_code(allowed.note)}"] if allowed and loosened(found) else []
    if asked_by:
        cannot = ", who cannot be the one who approves it (four eyes)" if line.approval.four_eyes else ""
        marks.append(f"This night was asked for by {markdown_code(asked_by)}{cannot}.")
    body = "\n".join(_body(line, verdict, report_url, marks))
    return ApprovalRequest(subject=_subject(line, verdict), body=body)


def _subject(line: Line, verdict: Verdict) -> str:
    instead = f"instead of version {verdict.champion_version}" if verdict.champion_version else "as its first champion"
    return f"{one_line(line.title or line.line)}: may version {verdict.model_version} take charge {instead}?"


def _body(line: Line, verdict: Verdict, report_url: str, marks: list[str]) -> Iterator[str]:
    champion = f"version {verdict.champion_version}" if verdict.champion_version else "no champion yet"
    for mark in marks:
        yield f"**{mark}**"
        yield ""
    yield f"**[Open the report]({report_url})**"
    yield ""
    yield (
        f"Line `{line.line}`, dataset version `{verdict.dataset_version[:12]}`. Every gate agrees; your word decides. "
        f"No answer within {line.approval.timeout_h:g} hours means Hold."
    )
    yield ""
    yield f"| | version {verdict.model_version} | {champion} | difference |"
    yield "|---|---|---|---|"
    for title, path in _numbers(line):
        yield f"| {_cell(title)} | {' | '.join(_cells(verdict, path))} |"
    yield ""
    yield "| gate | finding | why |"
    yield "|---|---|---|"
    for gate in verdict.gates:
        yield f"| {markdown_code(gate.gate)} | {gate.decision} | {_cell(gate.reason)} |"


def _numbers(line: Line) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The metrics that the line's gates look at, each once: title and address."""
    from tasks.metrics.judgement import address

    seen = set()
    for gate in line.gates:
        path = address(gate.metric, gate.where)
        if path not in seen:
            seen.add(path)
            yield f"{gate.metric.replace('_', '-')}{f', {gate.where}' if gate.where else ''}", path


def _cells(verdict: Verdict, path: tuple[str, ...]) -> tuple[str, str, str]:
    from tasks.metrics.judgement import find

    difference = find(verdict.intervals.get("differences"), path) or {}
    return (
        _number(find(verdict.metrics, path), find(verdict.intervals, path)),
        _number(find(verdict.champion_metrics, path)),
        _number(difference.get("value"), difference, sign="+"),
    )


def _number(value: Any, interval: Any = None, *, sign: str = "") -> str:
    """A number with its interval, '0.912 (0.880 to 0.940, 95%)'; a dash where there is none."""
    if not isinstance(value, int | float):
        return "–"
    text = f"{value:{sign}.3f}" if abs(value) < 10 else f"{value:{sign}.1f}"
    if not isinstance(interval, Mapping) or interval.get("low") is None or interval.get("high") is None:
        return text
    return f"{text} ({interval['low']:.3f} to {interval['high']:.3f}, {interval['confidence']:.0%})"


def _cell(text: str) -> str:
    """Text of a cell, as text: what a note or a class is called never becomes a link, an image or another cell."""
    return markdown(text)
