"""Where the registry client may be sent to, and that it is asked about every address before a connection is made."""

import socket
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import parse_reference
from lockstep.images.registry.client import RegistrySource
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.egress import ANYWHERE, Egress
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.resolver import GuardedResolver
from lockstep.images.registry.session import registry_session
from lockstep.images.registry.transport import Transport, origin, web_url
from tests.fakes.registry import serving
from tests.unit.images.reading import answering, login, read, refused, registry

REFUSED = {
    "127.0.0.1": "a loopback address",
    "127.255.0.9": "a loopback address",
    "::1": "a loopback address",
    "::ffff:127.0.0.1": "a loopback address",
    "::127.0.0.1": "a loopback address",
    "64:ff9b::7f00:1": "a loopback address",
    "2002:7f00:1::": "a loopback address",
    "169.254.169.254": "a link-local address",
    "::ffff:169.254.169.254": "a link-local address",
    "fe80::1": "a link-local address",
    "fe80::1%eth0": "a link-local address",
    "0.0.0.0": "an unspecified address",
    "0.1.2.3": "an unspecified address",
    "::": "an unspecified address",
    "224.0.0.1": "a multicast address",
    "ff02::1": "a multicast address",
    "255.255.255.255": "a reserved address",
    "100.100.100.200": "a metadata service",
    "168.63.129.16": "a metadata service",
    "fd00:ec2::254": "a metadata service",
    "10.96.0.1": "an address of the cluster",
    "::ffff:10.96.0.1": "an address of the cluster",
    "fd00:10:96::1": "an address of the cluster",
    "2130706433": "no valid address",
    "localhost": "no valid address",
}


@pytest.mark.parametrize(("address", "what"), REFUSED.items())
def test_an_address_that_is_no_registrys_is_refused(address: str, what: str) -> None:
    egress = Egress.for_cluster([ip_network("10.96.0.0/12"), ip_network("fd00:10:96::/112")])
    assert egress.refusal(address) == what


@pytest.mark.parametrize("address", ["10.0.0.5", "172.16.0.5", "192.168.1.5", "fd00::5", "93.184.216.34", "2606:2800::1"])
def test_public_and_private_addresses_are_reached(address: str) -> None:
    assert Egress().refusal(address) is None


@pytest.mark.parametrize(
    ("host", "port", "reached"),
    [
        ("r.example.com", 5000, True),
        ("r.example.com", 443, False),
        ("p.example.com", 443, True),
        ("p.example.com", 80, False),
        ("p.example.com", 10250, False),
        ("q.example.com", 8443, True),
        ("q.example.com", 443, False),
        ("other.example.com", 443, False),
    ],
)
def test_a_listing_is_of_a_host_with_its_port(host: str, port: int, reached: bool) -> None:
    options = RegistryOptions(frozenset(["R.example.com:5000"]), private=frozenset(["p.example.com", "q.example.com:8443"]))
    assert (options.refusal(host, port, "127.0.0.1") is None) is reached


class Names(AbstractResolver):
    """Answers every name with the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        kind = socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0) for address in self.addresses
        ]

    async def close(self) -> None:
        pass


async def test_a_name_that_leads_nowhere_else_is_refused_and_its_address_is_not_told() -> None:
    resolver = GuardedResolver(Names("169.254.169.254"), RegistryOptions())
    with pytest.raises(ImageError) as caught:
        await resolver.resolve("evil.example.com", 443)
    assert (caught.value.reason, caught.value.retry) == (Reason.REGISTRY_ADDRESS_REFUSED, False)
    assert "evil.example.com:443 leads to a link-local address" in caught.value.message
    assert "169.254" not in caught.value.message


async def test_of_a_name_with_several_addresses_only_those_are_connected_to_that_may_be() -> None:
    resolver = GuardedResolver(Names("127.0.0.1", "10.0.0.5", "::1"), RegistryOptions())
    assert [found["host"] for found in await resolver.resolve("r.example.com", 443)] == ["10.0.0.5"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_loopback_is_refused_by_name_and_by_number(host: str) -> None:
    fake = registry()
    async with serving(fake.handle) as served:
        port = served.rpartition(":")[2]
        error = await refused(f"{host}:{port}", options=RegistryOptions())
    assert (error.reason, error.retry) == (Reason.REGISTRY_ADDRESS_REFUSED, False)
    assert fake.requests == []


async def test_a_listed_registry_is_read_wherever_it_is() -> None:
    fake = registry()
    async with serving(fake.handle) as host:
        assert await read(host, options=RegistryOptions(frozenset([host]))) == "3.11.2"
        named = f"localhost:{host.rpartition(':')[2]}"
        assert await read(named, options=RegistryOptions(frozenset([named]))) == "3.11.2"


@pytest.mark.parametrize("where", ["localhost", "127.0.0.1"])
async def test_a_listed_registry_may_not_redirect_to_another_port_of_the_same_machine(where: str) -> None:
    fake, inner = registry(), registry()
    async with serving(inner.handle) as elsewhere, serving(fake.handle) as host:
        fake.fault = answering(307, Location=f"http://{where}:{elsewhere.rpartition(':')[2]}/metrics")
        error = await refused(host, options=RegistryOptions(frozenset([host])))
    assert error.reason is Reason.REGISTRY_ADDRESS_REFUSED
    assert inner.requests == []


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/", "http://2130706433/", "http://127.1/"],
)
async def test_a_redirect_to_a_metadata_service_is_refused(target: str) -> None:
    fake = registry()
    fake.fault = answering(302, Location=target)
    async with serving(fake.handle) as host:
        error = await refused(host, options=RegistryOptions(frozenset([host])))
    assert (error.reason, error.retry) == (Reason.REGISTRY_ADDRESS_REFUSED, False)


async def test_a_token_service_on_the_inside_is_not_asked() -> None:
    fake, inner = registry(), registry()
    async with serving(inner.handle) as elsewhere, serving(fake.handle) as host:
        fake.fault = answering(401, WWW_Authenticate=f'Bearer realm="https://{elsewhere}/token"')
        error = await refused(host, login(host), options=RegistryOptions(frozenset([host])))
    assert error.reason is Reason.REGISTRY_ADDRESS_REFUSED
    assert inner.requests == []


async def test_a_person_reaches_their_own_machine() -> None:
    fake = registry()
    async with serving(fake.handle) as host:
        assert await read(host, options=RegistryOptions(frozenset([host]), egress=ANYWHERE)) == "3.11.2"
    assert ANYWHERE.refusal("127.0.0.1") is None


async def test_a_host_that_can_be_no_name_is_unreachable() -> None:
    options = RegistryOptions()
    async with registry_session(options) as session:
        reference = parse_reference(f"{'a' * 64}.example.com/team/iris:1")
        with pytest.raises(ImageError) as caught:
            await RegistrySource(session, reference, Credentials(), options, Limits()).manifest("1")
    assert caught.value.reason is Reason.IMAGE_REGISTRY_UNREACHABLE
    assert caught.value.message.endswith("its name can't be looked up")


async def test_a_url_with_another_spelling_of_an_address_is_refused() -> None:
    async with registry_session(RegistryOptions()) as session:
        transport = Transport(session, "r.example.com", RegistryOptions(), Limits())
        for text in (
            "http://127\u30020.0.1/",
            "http://\uff11\uff12\uff17.0.0.1/",
            "http://127.0.0.1./",
            "http://[fe80::1%25eth0]/",
            "http://1.2.3/",
        ):
            with pytest.raises(ImageError) as caught:
                await transport.send("GET", URL(text), {})
            assert caught.value.reason is Reason.REGISTRY_ADDRESS_REFUSED, text


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/a", "https://H:443/b", True),
        ("http://h/", "http://h:80/", True),
        ("http://h/", "https://h/", False),
        ("https://h/", "https://h:8443/", False),
        ("https://h/", "https://h.example/", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin(URL(one)) == origin(URL(other))) is same


def test_a_relative_address_is_joined() -> None:
    assert web_url("../b?c=1", URL("https://h/x/a")) == URL("https://h/b?c=1")
    assert web_url("//other/b", URL("https://h/x/a")) == URL("https://other/b")
    assert web_url("x" * 20_000, URL("https://h/")) is None


async def test_an_answer_that_redirects_nowhere_ends() -> None:
    fake = registry()

    async def fault(request: web.BaseRequest) -> web.Response:
        return web.Response(status=307)

    fake.fault = fault
    async with serving(fake.handle) as host:
        assert (await refused(host)).reason is Reason.IMAGE_REGISTRY_UNREACHABLE
    assert len(fake.requests) == 4
