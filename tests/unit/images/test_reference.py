"""Image references and registry credentials."""

import base64
import json
from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.reference import Reference, parse_reference, reported_digest, reported_repository
from lockstep.images.registry.credentials import Credentials, InvalidCredentialsError, parse_docker_config

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example.com/iris", Reference("registry.example.com", "iris", None, None)),
        ("registry.example.com/team/iris:1", Reference("registry.example.com", "team/iris", "1", None)),
        ("localhost/iris:v1.0_a-B", Reference("localhost", "iris", "v1.0_a-B", None)),
        ("localhost:5000/a/b/c", Reference("localhost:5000", "a/b/c", None, None)),
        ("10.0.0.1:5000/a__b/c-d.e--f", Reference("10.0.0.1:5000", "a__b/c-d.e--f", None, None)),
        (f"r.example.com/x@{DIGEST}", Reference("r.example.com", "x", None, DIGEST)),
        (f"r.example.com/x:1@{DIGEST}", Reference("r.example.com", "x", "1", DIGEST)),
    ],
)
def test_references_are_parsed_and_written_back(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iris",
        "iris:1",
        "team/iris:1",
        "registry/iris",
        "registry.example.com/",
        "registry.example.com/Iris",
        "registry.example.com/iris:",
        "registry.example.com/iris:-x",
        "registry.example.com/iris:" + "x" * 129,
        "registry.example.com/iris@sha256:abc",
        "registry.example.com/iris@md5:" + "0" * 64,
        "registry.example.com/a//b",
        "registry.example.com/../b",
        "registry.example.com/a_-b",
        "registry.example.com/a.",
        "registry.example.com/iris:1\n",
        " registry.example.com/iris",
        "https://registry.example.com/iris",
        "user@registry.example.com/iris",
        "-registry.example.com/iris",
        "registry.example.com:123456/iris",
        "registry.example.com/ir\u0131s",
        "registry.example.com/" + "a" * 512,
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_reference(text)
    assert caught.value.reason is Reason.REFERENCE_INVALID


def test_the_digest_is_asked_for_before_the_tag() -> None:
    assert parse_reference(f"r.example.com/x:1@{DIGEST}").wanted == DIGEST
    assert parse_reference("r.example.com/x:1").wanted == "1"
    assert parse_reference("r.example.com/x").wanted == "latest"


def config(**auths: Any) -> Credentials:
    return parse_docker_config(json.dumps({"auths": auths}).encode())


def login(user: str) -> dict[str, str]:
    return {"username": user, "password": "secret"}


def users(credentials: Credentials, reference: str) -> list[str]:
    return [credential.username for credential in credentials.candidates(parse_reference(reference))]


def test_all_forms_of_an_entry_are_read() -> None:
    packed = base64.b64encode(b"bob:pa:ss").decode()
    found = config(
        **{"a.example.com": {"auth": packed}, "b.example.com": login("alice"), "c.example.com": {"identitytoken": "t"}}
    )
    (packed_one,) = found.candidates(parse_reference("a.example.com/x"))
    assert (packed_one.username, packed_one.password) == ("bob", "pa:ss")
    assert users(found, "b.example.com/x") == ["alice"]
    (token,) = found.candidates(parse_reference("c.example.com/x"))
    assert token.identity_token == "t"


def test_empty_entries_are_none() -> None:
    assert config(**{"a.example.com": {}}).by_key == ()


@pytest.mark.parametrize(
    "key", ["r.example.com", "https://r.example.com", "https://r.example.com/v1/", "http://r.example.com/v2"]
)
def test_keys_may_be_written_as_addresses(key: str) -> None:
    assert users(config(**{key: login("alice")}), "r.example.com/x") == ["alice"]


def test_the_most_specific_path_comes_first() -> None:
    found = config(
        **{
            "r.example.com": login("host"),
            "r.example.com/team/iris": login("repository"),
            "r.example.com/team": login("team"),
            "r.example.com/te": login("prefix-of-a-word"),
            "other.example.com": login("other"),
        }
    )
    assert users(found, "r.example.com/team/iris:1") == ["repository", "team", "host"]
    assert users(found, "r.example.com/teams/x") == ["host"]


def test_a_wildcard_stands_for_one_label() -> None:
    found = config(**{"*.example.com": login("wild")})
    assert users(found, "r.example.com/x") == ["wild"]
    assert users(found, "a.b.example.com/x") == []
    assert users(found, "example.com/x") == []


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_does_not_exist_is_refused(port: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_reference(f"registry.example.com:{port}/team/iris:1")
    assert caught.value.reason is Reason.REFERENCE_INVALID


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        (f"r.example.com:5000/team/iris@sha256:{'a' * 64}", f"sha256:{'a' * 64}"),
        (f"docker-pullable://team/iris@sha256:{'a' * 64}", f"sha256:{'a' * 64}"),
        (f"docker://sha256:{'a' * 64}", f"sha256:{'a' * 64}"),
        (f"sha256:{'a' * 64}", f"sha256:{'a' * 64}"),
        ("a" * 64, f"sha256:{'a' * 64}"),
        ("a" * 65, None),
        ("A" * 64, None),
        (f"sha512:{'a' * 64}", None),
        (f"team/iris@{'a' * 64}", None),
        (f"sha256:{'a' * 64}\n", None),
        (f"{'x' * 600}@sha256:{'a' * 64}", None),
        ("team/iris:1", None),
        ("", None),
    ],
)
def test_the_digest_that_a_node_reports_is_found(image_id: str, digest: str | None) -> None:
    assert reported_digest(image_id) == digest


@pytest.mark.parametrize(
    ("image_id", "repository"),
    [
        (f"r.example.com:5000/team/iris@sha256:{'a' * 64}", "r.example.com:5000/team/iris"),
        (f"docker-pullable://r.example.com/team/iris@sha256:{'a' * 64}", "r.example.com/team/iris"),
        (f"docker://sha256:{'a' * 64}", ""),
        (f"sha256:{'a' * 64}", ""),
        ("a" * 64, ""),
        ("", ""),
    ],
)
def test_the_repository_that_a_node_reports_is_found(image_id: str, repository: str) -> None:
    assert reported_repository(image_id) == repository


def test_ports_have_to_be_equal() -> None:
    found = config(**{"r.example.com:5000": login("alice")})
    assert users(found, "r.example.com:5000/x") == ["alice"]
    assert users(found, "r.example.com/x") == []


def test_the_hubs_old_address_opens_it() -> None:
    assert users(config(**{"https://index.docker.io/v1/": login("alice")}), "docker.io/library/x") == ["alice"]


def test_files_are_tried_in_their_order() -> None:
    both = Credentials.merge([config(**{"r.example.com": login("a")}), config(**{"r.example.com": login("b")})])
    assert users(both, "r.example.com/x") == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"auths": []}',
        b'{"auths": {"r": "topsecret"}}',
        b'{"auths": {"r": {"auth": "topsecret!"}}}',
        b'{"auths": {"r": {"auth": "/w=="}}}',
        b'{"auths": {"r": {"auth": 7}}}',
        b'{"topsecret"',
        b'{"auths": {"r": {"username": 1, "password": "topsecret"}}}',
        b'{"auths": {"r": {"username": "u", "password": ["topsecret"]}}}',
    ],
)
def test_malformed_files_are_refused_without_showing_them(body: bytes) -> None:
    with pytest.raises(InvalidCredentialsError) as caught:
        parse_docker_config(body)
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__suppress_context__}"
    assert "topsecret" not in shown
    assert "True" in shown


def test_secrets_are_not_shown() -> None:
    found = config(**{"r.example.com": {"username": "alice", "password": "topsecret", "identitytoken": "topsecret"}})
    assert "topsecret" not in repr(found)
    assert "alice" in repr(found)
