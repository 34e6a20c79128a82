"""Judges the signature of the recorded training environment: a part of the environment gate."""

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.statement import TRAINING, InvalidStatementError, parse_statement
from lockstep.formats.dsse import IN_TOTO, InvalidEnvelopeError, parse_envelope
from lockstep.formats.keys import public_keys
from lockstep.gates.evidence import Fact, Unknown
from lockstep.gates.gate import Result
from lockstep.lineage.lineage import Lineage

_STEP = "Next step (who trains): train again with log_environment(sign_key=...) and register the new version"


def is_demanded(policy: Fact[PromotionPolicy]) -> bool:
    """Return whether a policy demands that the document is signed; without it a document is self-declared."""
    return not isinstance(policy, Unknown) and policy.spec.environment.signature is not None


def judge(gate: str, lineage: Lineage, rules: EnvironmentSpec) -> Result | None:
    """Return why the recorded environment is not vouched for as the policy demands; None when it is, or none is demanded.

    The signed statement names the document's digest, the logged model and the run: a document that was signed for one
    model can't be stored with another.
    """
    if rules.signature is None:
        return None
    if lineage.environment_document is None or lineage.environment_signature is None:
        return Result(
            gate, GateOutcome.REJECTED, Reason.DOCUMENT_UNSIGNED, "the recorded environment is not signed", next_step=_STEP
        )
    wrong = _find_fault(lineage.environment_document, lineage.environment_signature, lineage, rules)
    if wrong is None:
        return None
    return Result(gate, GateOutcome.REJECTED, Reason.DOCUMENT_SIGNATURE_INVALID, wrong, next_step=_STEP)


def _find_fault(document: bytes, signature: bytes, lineage: Lineage, rules: EnvironmentSpec) -> str | None:
    assert rules.signature is not None
    try:
        envelope = parse_envelope(signature, IN_TOTO)
        statement = parse_statement(envelope.payload)
    except (InvalidEnvelopeError, InvalidStatementError) as error:
        return f"the signature of the recorded environment can't be read: {error}"
    signers = envelope.signers(public_keys(rules.signature.keys))
    if len(signers) < rules.signature.threshold:
        return f"{len(signers)} of the {rules.signature.threshold} keys that are needed have signed the recorded environment"
    if statement.predicate_type != TRAINING:
        return f"what is signed is {statement.predicate_type[:200]}, not a training environment"
    if EnvironmentDocument.parse(document).digest not in statement.subjects:
        return "what is signed is another document than the recorded one"
    stated = statement.predicate if isinstance(statement.predicate, dict) else {}
    run = lineage.run.run_id if lineage.run else None
    if (stated.get("modelID"), stated.get("runID")) != (lineage.model_id, run):
        return f"the recorded environment was signed for model {stated.get('modelID')!s:.100}, run {stated.get('runID')!s:.100}"
    return None
