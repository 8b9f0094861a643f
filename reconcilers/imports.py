"""ServiceAccountImports: a Secret with a fresh token of another cluster's ServiceAccount, if that cluster grants it."""

from __future__ import annotations

from engine.core.authoring import condition, name_problem, reconciler, timestamp
from engine.core.importing import Wanted, grant_ref, issue, read_grant, read_wanted, secret_ref
from engine.core.view import Known, KubeObject, View
from schemas.actions import Action, Decision, Delete, Issue, Json, PatchStatus, Request, Withdrawal
from schemas.decisions import Target

Problem = tuple[bool | None, str, str]
"""Status, reason and message of the condition."""
SOON_SECONDS = 1.0
"""When something is due already, this decision performs it; the key then wants to know when the next is."""


@reconciler("imports", watches="multicluster.admiralty.io/v1alpha1/serviceaccountimports")
def imports(view: View, request: Request) -> Decision:
    """Keep the Secret as the import says. When the import goes, its own cluster collects the Secret."""
    found = view.get(request.object)
    if found is None or found.deleting:
        return Decision.wait()
    target = view.targets.get((secret_ref(found), "apply"))
    wanted = read_wanted(found.body)
    if isinstance(wanted, str):
        return Decision.do(report(view, found, target, (False, "InvalidSpec", wanted)))
    wish = wish_of(view, found, wanted)
    if not isinstance(wish, Issue):
        return Decision.do(*withdraw(target, wanted, wish[1]), report(view, found, target, wish))
    problem = standing(view, wish)
    actions = (wish, *withdraw(target, wanted, problem[1]), report(view, found, target, problem))
    return Decision.do(*actions, again_after=due_in(view, target))


def withdraw(target: Target | None, wanted: Wanted, reason: str) -> list[Action]:
    """Return the Secret's deletion if its grant or account is gone and the import wants it so."""
    gone = reason in ("NotGranted", "AccountNotFound") and wanted.when_withdrawn is Withdrawal.DELETE
    if not gone or target is None or not target.uid:
        return []
    return [Delete(ref=target.ref, api_version="v1", kind="Secret", uid=target.uid, unwatched=True)]


def wish_of(view: View, found: KubeObject, wanted: Wanted) -> Issue | Problem:
    """Return what to issue, or why nothing is: the same where an account is not granted and where there is none."""
    for field, name in (("namespace", wanted.namespace), ("name", wanted.name)):
        if problem := name_problem(name):
            return False, "InvalidSpec", f"spec.{field}: {problem}"
    source = view.clusters.get(wanted.cluster_name)
    if source is None:
        return False, "UnknownCluster", f"spec.clusterName: no cluster {wanted.cluster_name!r} is declared"
    ref = grant_ref(wanted)
    grant = read_grant(view.get(ref), view.clusters[found.cluster], found.namespace)
    if grant is not None:
        return issue(found, wanted, grant)
    if view.known(ref) is Known.UNKNOWN:
        why = source.message if not source.answering else "not read yet, or its CRD is not installed"
        return None, "NotSynced", f"watch serviceaccountgrants in {source.name}: {why}"
    account = f"{wanted.namespace}/{wanted.name} in {source.name}"
    return (
        False,
        "NotGranted",
        f"no grant there lets namespace {found.namespace} of {found.cluster} have tokens of {account}",
    )


def standing(view: View, wish: Issue) -> Problem:
    """Return the condition of an import that is granted."""
    call = f"create serviceaccounts/token {wish.account.namespace}/{wish.account.name} in {wish.account.cluster}"
    source = view.clusters[wish.account.cluster]
    if not source.answering:
        return None, source.reason or "Unreachable", f"{call}: {source.message or 'it does not answer'}"
    if failure := view.failure(wish.ref):
        return False, failure.reason or "Failed", failure.message
    target = view.targets.get((wish.ref, "apply"))
    if target is None or not target.expires_at:
        return False, "Pending", f"{call}: not asked yet"
    return True, "Issued", f"{wish.ref.name} holds a token of {wish.account.namespace}/{wish.account.name}"


def due_in(view: View, target: Target | None) -> float | None:
    """Return the seconds until the Secret is renewed or looked at; None where a back-off or a cluster's record wakes us."""
    if target is None or target.attempts:
        return None
    return max(SOON_SECONDS, min(target.renew_at, target.look_at) - view.now)


def report(view: View, found: KubeObject, target: Target | None, problem: Problem) -> PatchStatus:
    """Return the status: which Secret to mount, until when its token is good, and whether it is looked after."""
    before = view.status(found)
    ready, reason, message = problem
    status: Json = {
        "observedGeneration": found.generation,
        "conditions": [condition(before, "Ready", ready, reason, message, now=view.now)],
    }
    if target is not None and target.expires_at:
        status["secrets"] = [{"name": target.ref.name}]
        status["expirationTimestamp"] = timestamp(target.expires_at)
        if view.now >= target.expires_at and ready is not True:
            status["conditions"][0]["message"] = f"{message}; the last token has expired"
    return PatchStatus(ref=found.ref, api_version=found.api_version, kind=found.kind, uid=found.uid, status=status)
