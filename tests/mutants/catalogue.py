"""The mutants: which guard goes, and by which change of which text. `make mutants` runs the tests against each."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One guard taken away."""

    name: str
    path: str
    old: str
    new: str


EVIDENCE = "engine/core/evidence.py"
COLLECTION = "engine/core/collection.py"
CASCADE = "engine/core/cascade.py"
GRANTS = "engine/core/grants.py"
BRAKE = "engine/core/brake.py"
COLLECTOR = "engine/runtime/collector.py"
PROVER = "engine/runtime/prover.py"
REFERENCES = "engine/runtime/references.py"
BRAKES = "engine/runtime/brakes.py"
RELEASE = "engine/runtime/release.py"
REMAINING = "engine/runtime/remaining.py"
NOMINEES = "engine/runtime/nominees.py"
LATELY = "engine/runtime/lately.py"
PERFORMER = "engine/runtime/garbage_performer.py"
LIVE_READS = "engine/runtime/live_reads.py"
RECORDS = "engine/runtime/delete_records.py"
SHARED_READS = "engine/runtime/shared_reads.py"
TURNS = "engine/runtime/turns.py"
WAKES = "engine/runtime/wakes.py"
FENCE = "engine/core/fence.py"
PLAN = "engine/core/plan.py"
WITNESS = "engine/core/witness.py"

MUTANTS = (
    Mutant(
        "403 counts as 404",
        "engine/core/api_errors.py",
        "return about and self.code == 404",
        "return about and self.code in (403, 404)",
    ),
    Mutant(
        "a 404 without a Status counts",
        EVIDENCE,
        "    if answer.absent(name, plural) and answer.kind == plural:",
        "    if answer.code == 404:",
    ),
    Mutant("a NotFound about another kind counts", EVIDENCE, " and answer.kind == plural", ""),
    Mutant("an object of another name counts as another uid", EVIDENCE, "if answer.name != name:", "if not name:"),
    Mutant("one look is enough", EVIDENCE, "if len(looks) == 2:", "if len(looks) >= 1:"),
    Mutant("the second look need not wait", EVIDENCE, "APART_SECONDS - now", "0.0 - now"),
    Mutant(
        "the identity is not compared",
        EVIDENCE,
        "if answer.identity != examination.owner.cluster_id:",
        "if not answer.identity:",
    ),
    Mutant("an old identity will do", EVIDENCE, "if now - answer.at > IDENTITY_SECONDS:", "if now < answer.at:"),
    Mutant(
        "a type that is not served counts as absence", EVIDENCE, "    if not examination.observed:\n", "    if False:\n"
    ),
    Mutant(
        "an observed deletion is proof enough",
        EVIDENCE,
        "    if answer.served:\n",
        "    if answer.served and not examination.observed:\n",
    ),
    Mutant(
        "an error about the owner is taken for absence",
        EVIDENCE,
        "    if isinstance(answer, NoAnswer):\n",
        "    if isinstance(answer, NoAnswer) and examination.asked is not Question.OBJECT:\n",
    ),
    Mutant(
        "the second look uses the first connection",
        PROVER,
        "self._apis[ask.look].get(cluster)",
        "self._apis[0].get(cluster)",
    ),
    Mutant("a proof is good for ever", PROVER, "self._clock.monotonic() < known.until", "known is not None"),
    Mutant(
        "missing tombstone definitions mean no tombstone",
        PROVER,
        "            if answer.unserved:\n                return NoAnswer(",
        "            if answer.unserved:\n                return Tombstone() if answer else NoAnswer(",
    ),
    Mutant(
        "one absent owner is enough",
        COLLECTION,
        "    if by[Standing.SOLID] or by[Standing.FOREIGN]",
        "    if by[Standing.FOREIGN]",
    ),
    Mutant(
        "another engine's owner does not count",
        COLLECTION,
        "by[Standing.SOLID] or by[Standing.FOREIGN]",
        "by[Standing.SOLID]",
    ),
    Mutant("native owners do not count", COLLECTION, " or dependent.native_owners:", ":"),
    Mutant(
        "an unknown owner does not keep it",
        COLLECTION,
        "    if by[Standing.UNKNOWN]:\n",
        "    if by[Standing.UNKNOWN] and not by[Standing.DANGLING]:\n",
    ),
    Mutant(
        "an ungranted reference deletes",
        COLLECTION,
        "    if by[Standing.UNGRANTED] or by[Standing.MISPLACED]:\n",
        "    if by[Standing.MISPLACED]:\n",
    ),
    Mutant(
        "a misplaced reference deletes",
        COLLECTION,
        "    if reference.namespace and not dependent.namespace:\n        return Standing.MISPLACED\n",
        "",
    ),
    Mutant("what was abandoned is collected", COLLECTION, "    if by[Standing.ABANDONED]:\n", "    if False:\n"),
    Mutant(
        "what was orphaned is collected",
        COLLECTION,
        "            Disposition.ORPHANED: Standing.ORPHANING",
        "            Disposition.ORPHANED: Standing.DANGLING",
    ),
    Mutant(
        "a terminating owner counts as waiting",
        COLLECTION,
        "            if evidence.propagation == Propagation.FOREGROUND:\n",
        "            if evidence.propagation != Propagation.ORPHAN:\n",
    ),
    Mutant("a deleting dependent is deleted again", COLLECTION, "    if dependent.deleting:\n", "    if False:\n"),
    Mutant("cycles are not broken", COLLECTION, " if dependent.closes_cycle else ()", " if False else ()"),
    Mutant(
        "no uid precondition",
        "engine/runtime/api_calls.py",
        '{"uid": uid, "resourceVersion": version}',
        '{"resourceVersion": version}',
    ),
    Mutant(
        "no resourceVersion precondition",
        COLLECTOR,
        "self._send_delete(case, case.live.resource_version, fate)",
        "self._send_delete(case, None, fate)",
    ),
    Mutant(
        "a conflict is answered by force",
        COLLECTOR,
        "_judged_by(live) == _judged_by(case.live) and not live.deleting",
        "live",
    ),
    Mutant(
        "a busy object is never collected",
        COLLECTOR,
        "        if refused is not None and refused.stale:\n            again",
        "        if False:\n            again",
    ),
    Mutant(
        "the dependent's uid is not compared",
        COLLECTOR,
        "        if live.uid != action.uid:\n            return gone(action)\n        if status",
        "        if status",
    ),
    Mutant(
        "the breaker is not asked",
        COLLECTOR,
        "if (hold := await self._held_back(case, ownerships)) is not None:",
        "if False:",
    ),
    Mutant("intent trips the breaker", COLLECTOR, " or one.reference.uid in case.action.observed:", ":"),
    Mutant(
        "labelled before its owner is held",
        COLLECTOR,
        "                if not held.ok:\n",
        "                if False:\n",
    ),
    Mutant("no record is left", RECORDS, "            await self._event_log.publish(records)\n", "            pass\n"),
    Mutant(
        "who went at once by Orphan is told by nobody",
        CASCADE,
        " and _WAITED not in last",
        "",
    ),
    Mutant(
        "a decision is closed before its deletes are on record",
        PERFORMER,
        "            await self._collector.recorded(deadline)\n",
        "            pass\n",
    ),
    Mutant(
        "a finalizer goes though a dependent is not settled",
        PERFORMER,
        "if isinstance(action, RemoveFinalizer) and unsettled is not None:",
        "if False:",
    ),
    Mutant(
        "a signature taken away in the last moment is overlooked",
        COLLECTOR,
        "(live.annotations or {}).get(SIGNATURE_ANNOTATION), live.finalizers",
        "live.finalizers",
    ),
    Mutant(
        "a finalizer added in the last moment is overlooked",
        COLLECTOR,
        "get(SIGNATURE_ANNOTATION), live.finalizers or []",
        "get(SIGNATURE_ANNOTATION)",
    ),
    Mutant(
        "what a list lacks is taken for gone",
        LIVE_READS,
        "                elif (found := listed.get(action.ref.name)) is not None:\n                    return found\n",
        "                elif (found := listed.get(action.ref.name)) is not None:\n                    return found\n"
        "                else:\n"
        "                    return Status(\n"
        '                        code=404, reason="NotFound", details=Details(action.ref.name, action.ref.resource)\n'
        "                    )\n",
    ),
    Mutant(
        "a list is used for ever",
        LIVE_READS,
        "(known is not None and now - known[0] <= RENEWED_SECONDS)",
        "known is not None",
    ),
    Mutant(
        "an old list is read",
        LIVE_READS,
        "if self._is_usable(group, self._clock.monotonic()):",
        "if group in self._listings:",
    ),
    Mutant("whoever judges again reads the same list", LIVE_READS, "            if anew:\n", "            if False:\n"),
    Mutant(
        "an answer from before a trip is used after it",
        SHARED_READS,
        "        self._running.pop(key, None)\n\n",
        "\n",
    ),
    Mutant("grants are used for ever", SHARED_READS, "self._clock.monotonic() - kept[0] <= self._seconds", "kept"),
    Mutant("what could not be read is remembered", SHARED_READS, "if self._keeps(answer) and", "if"),
    Mutant(
        "a request is acknowledged for one that is older",
        TURNS,
        "            if seq < line.seq:\n                return Turn.BUSY",
        "            if seq < line.seq:\n                return Turn.REPLACED",
    ),
    Mutant("two work on one key", TURNS, "turn = await self._wait(key, line, seq)", "turn = Turn.GO"),
    Mutant(
        "whoever asks while a request is under way is told that it is stored",
        WAKES,
        "            await asyncio.shield(self._rounds.add(wanted))\n",
        "            self._rounds.add(wanted)\n            await asyncio.sleep(0)\n",
    ),
    Mutant("a held key is free", FENCE, " and waited < entry.lease", " and waited < 0"),
    Mutant(
        "decided on rows older than the last decision's",
        FENCE,
        "inputs[subject] < seq for subject, seq",
        "inputs[subject] < 0 for subject, seq",
    ),
    Mutant(
        "an older delete hides a dependent that was made anew",
        PLAN,
        " and row.fact.uid == action.uid\n\n",
        "\n\n",
    ),
    Mutant(
        "a restored server that shows the witness older is believed",
        WITNESS,
        "    if shown is not None and same and newer(last, shown.version):\n",
        "    if False:\n",
    ),
    Mutant(
        "a witness that is not in its own past is not missed",
        WITNESS,
        '    return Stopped(state.course, "Restored"), [WentBack(last, ResourceVersion(""))]\n',
        "    return Resuming(state.course), []\n",
    ),
    Mutant(
        "an answer for another version is taken for the witness's",
        WITNESS,
        "    if page.version != last:\n",
        "    if False:\n",
    ),
    Mutant("a witness of another uid will do", WITNESS, "shown.uid == state.seen.uid", "bool(shown.uid)"),
    Mutant(
        "an unread grant is a grant",
        REFERENCES,
        "        if isinstance(verbs, Status):\n            message",
        "        if isinstance(verbs, Status):\n            verbs = frozenset(Verb)\n        if False:\n            message",
    ),
    Mutant(
        "the owner is asked for before the grant",
        REFERENCES,
        "        if Verb.REFERENCE not in verbs:\n",
        "        await self._prover.examine(reference, home, observed=False)\n        if Verb.REFERENCE not in verbs:\n",
    ),
    Mutant(
        "any signature will do",
        GRANTS,
        "hmac.compare_digest(sign(key, owners, cluster, dependent), signature)",
        "bool(signature)",
    ),
    Mutant(
        "a signature may be moved to another object",
        GRANTS,
        "dependent.namespace, dependent.name)\n    return hmac",
        'dependent.namespace, "")\n    return hmac',
    ),
    Mutant(
        "grants for one namespace hold for all",
        GRANTS,
        "source.namespace in (ANY, dependent.namespace)",
        "bool(source)",
    ),
    Mutant(
        "grants for one kind hold for all", GRANTS, "(one.group, one.kind) == (owner.group, owner.kind)", "bool(one)"
    ),
    Mutant(
        "two clusters with one identity are the first",
        "engine/runtime/fleet_directory.py",
        "for identity, names in found.items() if len(names) == 1}",
        "for identity, names in found.items()}",
    ),
    Mutant(
        "brakes that cannot be read are open",
        BRAKES,
        "        if isinstance(standing, Status):\n",
        "        if isinstance(standing, Status):\n            return None\n        if False:\n",
    ),
    Mutant(
        "an unapproved brake lets pass", BRAKES, "            if not brake.spec.approved:\n", "            if False:\n"
    ),
    Mutant("suspects need not settle", BRAKES, "            if age < self._settle:\n", "            if False:\n"),
    Mutant("a restore is forgiven", BRAKES, "        if restored:\n", "        if False:\n"),
    Mutant(
        "the absolute limit is ignored",
        BRAKE,
        "max(limits.absolute, limits.percent / 100 * known.get(scope, 0))",
        "limits.percent / 100 * known.get(scope, 0)",
    ),
    Mutant("the rate limit is ignored", BRAKE, "> limits.per_minute:", "> 10**9:"),
    Mutant(
        "a silent cluster holds nothing",
        REMAINING,
        "        if isinstance(live, Status):\n            return live\n",
        "        if isinstance(live, Status):\n            return None\n",
    ),
    Mutant(
        "another cluster's empty list opens the barrier",
        REMAINING,
        "if status is None or live != status.identity:",
        "if status is None:",
    ),
    Mutant("any abandonment is for every owner", RELEASE, "(not one.spec.owners or owner in one.spec.owners)", "True"),
    Mutant(
        "an abandonment leaves no tombstone",
        RELEASE,
        'return "; ".join(left) if left else await self._entomb(action, home, given_up)',
        'return "; ".join(left)',
    ),
    Mutant(
        "part of a list opens the barrier",
        REMAINING,
        "            if not resume:\n                return found\n",
        "            return found\n",
    ),
    Mutant("a list that is none opens the barrier", REMAINING, 'if not page.kind.endswith("List") or', "if False and"),
    Mutant("what was left is all there is", NOMINEES, "view.more = True", "view.more = False"),
    Mutant(
        "what a restored etcd brings back was just deleted",
        LATELY,
        "known[0] == epoch and ",
        "",
    ),
    Mutant("what was deleted lately is gone for ever", LATELY, "self._clock.monotonic() < known[1]", "known[1] > 0"),
    Mutant(
        "streams that were lost are an administrator's word",
        COLLECTOR,
        "home is None and one.evidence is None",
        "home is None",
    ),
    Mutant(
        "a list of a namespace is used for ever",
        LIVE_READS,
        "(LISTED_SECONDS if group[3] else WHOLE_SECONDS)",
        "(LISTED_SECONDS if group[3] else 1e9)",
    ),
    Mutant(
        "what STATE knows to be gone hides the others",
        NOMINEES,
        "if not _is_gone(view.rows.get(held.ref), held.uid)",
        "if True",
    ),
    Mutant(
        "dependents that were refused hide the others",
        CASCADE,
        "return target is None or not target.attempts or view.now >= target.not_before",
        "return True",
    ),
    Mutant(
        "an owner is let go while a dependent waits for its next try",
        PLAN,
        "or (isinstance(action, Collect) and _is_retried(view, action))",
        "or False",
    ),
    Mutant("an old look opens the barrier", REMAINING, " and now - look.began > LOOK_SECONDS", " and False"),
    Mutant(
        "dependents that have gone since hold the owner",
        REMAINING,
        "            if not any(isinstance(found, str) for found in findings.values()):\n                return findings\n",
        "            return findings\n",
    ),
    Mutant(
        "an owner is asked for in the same words before it is noted how it goes",
        CASCADE,
        "Hint.GOING if owner.deleting and PROPAGATION_ANNOTATION in notes_of(owner) else",
        "Hint.GOING if owner.deleting else",
    ),
    Mutant(
        "a contested identity is asked for once",
        CASCADE,
        "        told = Hint.CONTESTED\n",
        "        told = Hint.ABSENT\n",
    ),
    Mutant("a forged block counts", REMAINING, "if wanted in verbs and", "if"),
    Mutant(
        "unsynced counts as empty",
        CASCADE,
        "    if watched and not synced:\n        # A type",
        "    if False:\n        # A type",
    ),
    Mutant(
        "a cluster that is not live proves",
        CASCADE,
        "    if home.state is not ClusterState.LIVE:\n        return Hint.WAIT\n",
        "",
    ),
    Mutant(
        "an inferred deletion is intent",
        CASCADE,
        " and fact.cause is Cause.OBSERVED\n    return gone",
        "\n    return gone",
    ),
    Mutant(
        "a deletion of another epoch is intent",
        CASCADE,
        "fact.epoch == view.clusters[place.cluster].epoch",
        "fact.epoch >= 0",
    ),
    Mutant(
        "an unseen policy is Background",
        CASCADE,
        "        if alive and fact.cause is Cause.OBSERVED:\n",
        "        if True:\n",
    ),
    Mutant(
        "orphans before the tombstone", CASCADE, "    if orphan and not _is_entombed(view, owner):\n", "    if False:\n"
    ),
)
