"""The forty cases by name, and the table of them that a run prints."""

from __future__ import annotations

import re

import pytest

CASES = """
01 background_cascade_two_clusters
02 one_live_owner_keeps
03 never_existing_owner
04 owner_in_unregistered_cluster
05 owner_cluster_unreachable
06 unauthorized_is_not_absent
07 foreign_404_is_not_absent
08 missing_crd_is_not_absent
09 crd_deletion_cascades
10 endpoint_now_other_cluster
11 owner_recreated_new_uid
12 equal_uid_two_clusters
13 etcd_restore_goes_back
14 not_synced_no_delete
15 relist_absence_is_only_a_hint
16 selector_exit_is_not_deletion
17 foreground_parent_waits_for_all
18 foreground_unreachable_blocks
19 foreground_forced_abandon
20 foreign_finalizer_blocks
21 nonblocking_does_not_block
22 solid_plus_waiting_half_and_half
23 orphan_everywhere_first
24 orphan_with_unreachable_cluster
25 dependent_created_during_deletion
26 dependent_seen_before_owner
27 finalizer_before_first_dependent
28 cycle_over_three_clusters
29 owners_in_three_clusters_one_unknown
30 scope_rules
31 right_uid_wrong_coordinates
32 forged_ref_cannot_reach
33 forged_block_cannot_hold
34 preconditions_hold
35 stress_collections
36 brake_and_unregister
37 two_engines_share_clusters
38 replay_and_shuffle
39 already_gone_during_orphan
40 broken_type_does_not_block
"""
NAMES = dict(line.split() for line in CASES.split("\n") if line)
_NUMBER = re.compile(r"test_xgc_(\d\d)_")


def number_of(name: str) -> str:
    """Return the number of the case that a test belongs to; empty: none.

    Raises:
        ValueError: when it has the number of one case and the name of none.

    """
    if (found := _NUMBER.match(name)) is None:
        return ""
    number = found[1]
    if not name.startswith(f"test_xgc_{number}_{NAMES[number]}"):
        message = f"{name} is not named like case {number}, {NAMES[number]}"
        raise ValueError(message)
    return number


class Table:
    """What became of each case, all of its variants together."""

    def __init__(self) -> None:
        self._variants: dict[str, list[tuple[str, float]]] = {}

    def add(self, report: pytest.TestReport) -> None:
        """Take a report of one of the cases."""
        number = number_of(report.nodeid.rpartition("::")[2])
        if number and (report.when == "call" or report.outcome != "passed"):
            seconds = next((value for key, value in report.user_properties if key == "seconds"), report.duration)
            self._variants.setdefault(number, []).append((report.outcome, float(str(seconds))))

    def lines(self) -> list[str]:
        """Return one line for each case that ran, and how many of the forty passed; nothing if none ran."""
        if not self._variants:
            return []
        verdicts = {number: self._verdict(number) for number in self._variants}
        found = [
            f"XGC-{number} {NAMES[number]} {verdicts[number]}  {max(seconds for _, seconds in self._variants[number]):.1f} s"
            for number in sorted(verdicts)
        ]
        passed = sum(verdict == "PASSED" for verdict in verdicts.values())
        return [*found, f"{passed} of {len(NAMES)} cases PASSED, {len(NAMES) - len(verdicts)} not run"]

    def _verdict(self, number: str) -> str:
        outcomes = {outcome for outcome, _ in self._variants[number]}
        return "PASSED" if outcomes == {"passed"} else "SKIPPED" if outcomes == {"skipped"} else "FAILED"
