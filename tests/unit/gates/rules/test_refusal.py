"""What the API server's refusals mean; the sentences of a real one are in tests/api/test_refusals.py."""

import pytest

from lockstep.api.reasons import Reason
from lockstep.gates.rules.refusal import refusal

SENTENCES = {
    'pods "a" is forbidden: exceeded quota: tight, requested: pods=1, used: pods=1, limited: pods=1': Reason.QUOTA_EXCEEDED,
    'pods "a" is forbidden: failed quota: cpu: must specify limits.cpu for: server': Reason.PODS_FORBIDDEN,
    'pods "a" is forbidden: error looking up service account x/y: serviceaccount "y" not found': Reason.SERVICE_ACCOUNT_MISSING,
    'pods "a" is forbidden: no PriorityClass with name x was found': Reason.PODS_FORBIDDEN,
    'admission webhook "x" denied the request: Internal error in our database': Reason.PODS_FORBIDDEN,
    'Internal error occurred: failed calling webhook "x": context deadline exceeded': Reason.CLUSTER_FAILED,
    "Request entity too large: limit is 3145728": Reason.SPEC_TOO_LARGE,
    "etcdserver: request is too large": Reason.SPEC_TOO_LARGE,
    "etcdserver: request timed out": Reason.CLUSTER_FAILED,
    "": Reason.CLUSTER_FAILED,
}


@pytest.mark.parametrize(("sentence", "reason"), SENTENCES.items())
def test_each_sentence_means_one_thing(sentence: str, reason: Reason) -> None:
    found, step = refusal(sentence)
    assert found is reason
    assert bool(step) == (reason not in (Reason.QUOTA_EXCEEDED, Reason.CLUSTER_FAILED)), "where waiting helps nobody acts"
