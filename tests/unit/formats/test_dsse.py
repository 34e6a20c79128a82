"""DSSE envelopes and in-toto statements, and what strangers make of them."""

import base64
import json
from typing import Any

import pytest

from lockstep.environment.comparison.agreement import disagreement
from lockstep.environment.document import Interpreter, Package
from lockstep.environment.statement import (
    ENVIRONMENT,
    TRAINING,
    InvalidStatementError,
    Statement,
    environment_statement,
    parse_statement,
    training_statement,
)
from lockstep.formats.dsse import (
    IN_TOTO,
    MAX_ENVELOPE_BYTES,
    MAX_JSON_PARTS,
    InvalidEnvelopeError,
    pae,
    parse_envelope,
    seal,
)
from tests.fakes import builders as build
from tests.fakes.signing import key, statement

RELEASE, OTHER = key("release"), key("other")
KEYS = {one.public.fingerprint: one.public for one in (RELEASE, OTHER)}
ENVELOPE = json.loads(seal(IN_TOTO, b"{}", RELEASE))


def changed(**parts: Any) -> bytes:
    return json.dumps(ENVELOPE | parts).encode()


def test_the_encoding_is_that_of_the_specification() -> None:
    # The example of the DSSE specification, protocol.md.
    assert pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_an_envelope_names_the_keys_that_signed() -> None:
    assert parse_envelope(changed(), IN_TOTO).signers(KEYS) == {RELEASE.public.fingerprint}


def test_an_envelope_may_have_several_signatures() -> None:
    second = json.loads(seal(IN_TOTO, b"{}", OTHER))["signatures"]
    both = parse_envelope(changed(signatures=ENVELOPE["signatures"] + second), IN_TOTO)
    assert both.signers(KEYS) == KEYS.keys()


@pytest.mark.parametrize("keyid", ["", "another", 7, None])
def test_a_key_id_makes_no_difference(keyid: Any) -> None:
    entry = ENVELOPE["signatures"][0]
    for one in (entry | {"keyid": keyid}, {"sig": entry["sig"]}):
        assert parse_envelope(changed(signatures=[one]), IN_TOTO).signers(KEYS) == {RELEASE.public.fingerprint}


def test_a_url_safe_alphabet_is_read_too() -> None:
    raw = b"\xff\xfe\xfd" * 5
    signed = json.loads(seal(IN_TOTO, raw, RELEASE))
    signed["payload"] = base64.urlsafe_b64encode(raw).decode()
    assert parse_envelope(json.dumps(signed).encode(), IN_TOTO).signers(KEYS) == {RELEASE.public.fingerprint}


def test_another_payload_is_signed_by_nobody() -> None:
    assert parse_envelope(changed(payload=base64.b64encode(b"{ }").decode()), IN_TOTO).signers(KEYS) == frozenset()


def test_bytes_that_were_signed_as_another_type_are_signed_by_nobody() -> None:
    swapped = json.loads(seal("application/vnd.other+json", b"{}", RELEASE)) | {"payloadType": IN_TOTO}
    assert parse_envelope(json.dumps(swapped).encode(), IN_TOTO).signers(KEYS) == frozenset()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"payloadType":"application/vnd.in-toto+json","payloadType":"application/vnd.in-toto+json"}',
        changed(payloadType="application/json"),
        changed(payloadType=None),
        changed(payload=7),
        changed(payload="e30"),
        changed(payload="e 30="),
        changed(payload="\u00e9\u00e9\u00e9\u00e9"),
        changed(signatures=[]),
        changed(signatures={}),
        changed(signatures=None),
        changed(signatures=["x"]),
        changed(signatures=[{"sig": None}]),
        changed(signatures=[{"sig": "?"}]),
        changed(signatures=ENVELOPE["signatures"] * 9),
        b" " * (MAX_ENVELOPE_BYTES + 1),
        changed(more=[[]] * MAX_JSON_PARTS),
    ],
)
def test_what_is_no_envelope_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEnvelopeError):
        parse_envelope(raw, IN_TOTO)


@pytest.mark.parametrize("version", ["v1", "v0.1"])
def test_both_versions_of_statements_are_read(version: str) -> None:
    read = parse_statement(statement(build.DIGEST, {"x": 1}, version=version))
    assert read == Statement(frozenset([build.DIGEST]), ENVIRONMENT, {"x": 1})


def test_our_own_statements_name_their_subject() -> None:
    document = build.document()
    assert parse_statement(environment_statement("r/i", build.DIGEST, document)).subjects == {build.DIGEST}
    about = parse_statement(training_statement(document, model_id="m-1", run_id="r"))
    assert about == Statement(frozenset([document.digest]), TRAINING, {"modelID": "m-1", "runID": "r"})


@pytest.mark.parametrize(
    "parts",
    [
        {"_type": "https://in-toto.io/Statement/v2"},
        {"_type": None},
        {"subject": []},
        {"subject": "x"},
        {"subject": [{"digest": {"sha256": "a"}}] * 65},
        {"predicateType": None},
        {"predicateType": 7},
    ],
)
def test_what_is_no_statement_is_refused(parts: dict[str, Any]) -> None:
    stated = json.loads(statement(build.DIGEST, {})) | parts
    with pytest.raises(InvalidStatementError):
        parse_statement(json.dumps(stated).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b"[" * 100_000, b'{"a":NaN}', b'{"a":1,"a":1}'])
def test_what_is_no_json_object_is_no_statement(raw: bytes) -> None:
    with pytest.raises(InvalidStatementError):
        parse_statement(raw)


def test_subjects_without_a_sha256_are_no_subjects() -> None:
    stated = json.loads(statement(build.DIGEST, {})) | {"subject": [{"digest": {"sha1": "a"}}, {"digest": "x"}, "y"]}
    assert parse_statement(json.dumps(stated).encode()).subjects == frozenset()


def test_documents_agree_whoever_collected_them() -> None:
    document = build.document()
    assert disagreement(document, document.model_copy(update={"collector": "x", "hardware": {"gpu": "y"}})) is None


def test_what_differs_is_named() -> None:
    document = build.document()
    packages = tuple(Package(name=one.name, version="9") for one in document.packages)
    python = Interpreter(implementation="cpython", version="3.12.0")
    other = document.model_copy(update={"packages": packages, "python": python})
    assert disagreement(document, other) == "packages (numpy, scikit-learn, scipy), python"
