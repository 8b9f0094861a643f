"""`crosscurrent replay`: ask recorded decisions again, without a cluster or a broker."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from crosscurrent import recording, settings
from crosscurrent.comparison import compare, document, report
from crosscurrent.errors import UserError
from crosscurrent.options import ConfigFile
from crosscurrent.output import Format, dump, note, say
from crosscurrent.recording import Recording
from engine.core.authoring import Reconciler
from reconcilers.registry import BUILT_IN, UnknownReconciler, find

NOT_PURE = frozenset({"garbage"})
"""What the collector decides depends on live evidence, which no record holds."""
_TEST = '''"""Decision {seq} of {name}, as it was made at {time}. `pytest --pdb {file}` stops where it fails."""

from pathlib import Path

from crosscurrent.testing import find_reconciler, recorded_case

RECORDING = Path(__file__).with_name("{recording}")
RECONCILER = find_reconciler("{place}"{search})


def test_{name_}_decides_as_it_should() -> None:
    case = recorded_case(RECORDING, {seq})
    decision = RECONCILER(case.view, case.request)
    {check}
'''


class ReportFormat(StrEnum):
    """`-o` of a replay."""

    MARKDOWN = "markdown"
    JSON = "json"


async def replay(
    file: Annotated[Path, Parameter(name="FILE", help="A recording.")],
    /,
    *,
    against: Annotated[
        str, Parameter(help="Ask another reconciler, built-in or module:attribute, what those of its name were asked.")
    ] = "",
    output: Annotated[
        ReportFormat, Parameter(name=["--output", "-o"], help="Form of the report.")
    ] = ReportFormat.MARKDOWN,
    write_test: Annotated[
        Path | None,
        Parameter(help="Write a test of one decision there, beside FILE: the last that raised, or --decision."),
    ] = None,
    decision: Annotated[int, Parameter(help="Which decision --write-test is about.")] = 0,
    config: ConfigFile = None,
) -> int:
    """Ask recorded decisions again, and say which are answered otherwise."""
    found = recording.read(file)
    places = _places(config, against)
    if against:
        one = _find(against, config)
        if one.name not in {case.request.reconciler for case in found.cases()}:
            raise UserError(f"{file} holds no decision of {one.name!r}", f"there are those of {_names(found)}")
        reconcilers = {one.name: one}
    else:
        reconcilers = _known(found, places, config)
    if write_test is not None:
        return _write_test(found, file, write_test, decision, places, config)
    compared = compare(found, reconcilers)
    if not compared:
        raise UserError(f"{file} holds no decision that can be asked again", f"it holds decisions of {_names(found)}")
    if output is ReportFormat.JSON:
        say(dump(document(compared), Format.JSON))
    else:
        for line in report(compared, reconcilers):
            say(line)
    return 1 if any(one.verdict == "changed" for one in compared) else 0


def _places(config: Path | None, against: str) -> dict[str, str]:
    """Return where reconcilers are found, by the name under which they decide."""
    places = dict(zip(BUILT_IN, BUILT_IN, strict=True))
    for place in [*settings.load(config).config.reconcilers, *([against] if against else [])]:
        places[_find(place, config).name] = place
    return places


def _find(place: str, config: Path | None) -> Reconciler:
    try:
        loaded = settings.load(config)
        return find(place, search=loaded.directory, config=loaded.config)
    except UnknownReconciler as error:
        raise UserError(str(error)) from error


def _known(found: Recording, places: Mapping[str, str], config: Path | None) -> dict[str, Reconciler]:
    reconcilers = {}
    for name in sorted({case.request.reconciler for case in found.cases()}):
        if name in NOT_PURE:
            note(f"decisions of {name} are left out: they rest on live evidence, which is not in a recording")
        elif name not in places:
            raise UserError(
                f"no reconciler {name!r} is known here",
                "name it in the configuration, or with --against module:attribute",
            )
        else:
            reconcilers[name] = _find(places[name], config)
    return reconcilers


def _names(found: Recording) -> str:
    return ", ".join(sorted({one.body.reconciler for one in found.entries})) or "none"


def _write_test(
    found: Recording, file: Path, path: Path, decision: int, places: Mapping[str, str], config: Path | None
) -> int:
    """Write a test of one decision: that it is answered as it was, or, where it raised, that it is answered at all."""
    candidates = [case for case in found.cases() if not decision or case.seq == decision]
    raised = [case for case in candidates if case.entry.failures]
    if not candidates:
        numbers = ", ".join(str(case.seq) for case in found.cases())
        raise UserError(f"{file} holds no decision {decision}", f"there are {numbers}")
    case = (raised or candidates)[-1]
    name = case.request.reconciler
    place = places.get(name, name)
    search = "" if place in BUILT_IN else f", Path({str(settings.load(config).directory.resolve())!r})"
    check = "assert case.planned(decision) == case.actions"
    if case.entry.failures:
        check = f"assert decision is not None  # it raised {case.entry.reason.splitlines()[0]}"
    text = _TEST.format(
        seq=case.seq,
        name=name,
        name_=name.replace("-", "_"),
        time=case.time,
        file=path.name,
        recording=file.name,
        place=place,
        search=search,
        check=check,
    )
    if path.resolve().parent != file.resolve().parent:
        raise UserError(f"{path} is not beside {file}", "the test looks for the recording in its own directory")
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    note(f"{path}: decision {case.seq} of {name}; run it with `pytest --pdb {path}`")
    return 0
