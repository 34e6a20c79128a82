"""`lockstep check` says of a manifest what a real API server says of it."""

import pytest

from lockstep.cli.admission.admission import problems_of
from lockstep.cli.admission.text import documents
from tests.api.installation import Installation
from tests.fakes.manifests import CASES, Case

pytestmark = pytest.mark.api


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check_and_the_api_server_agree(api: Installation, team: str, case: Case) -> None:
    answer = api.kubectl(
        "apply", "-f", "-", "--dry-run=server", "--validate=strict", "--namespace", team, stdin=case.text, check=False
    )
    try:
        (raw,) = documents(case.text)
    except ValueError:
        assert case.duplicate
        return
    problems = [str(problem) for problem in problems_of(raw)]
    assert (answer.code == 0) == (not problems) == case.taken, f"{answer.error}\n{problems}"


def test_what_a_client_without_strict_validation_drops_is_what_check_names(api: Installation) -> None:
    """The API server takes a policy with a misspelt field from a client that does not ask, and keeps a laxer one."""
    (case,) = (one for one in CASES if one.name == "requires")
    api.kubectl("apply", "-f", "-", "--validate=ignore", stdin=case.text)
    stored = api.get("ppol", "tried")
    api.kubectl("delete", "ppol", "tried")
    assert stored["spec"].get("lineage", {}).get("require", []) == []
    assert "requires" not in str(stored["spec"])
    (raw,) = documents(case.text)
    assert [str(one) for one in problems_of(raw)] == ["unknown field spec.lineage.requires; did you mean spec.lineage.require?"]
