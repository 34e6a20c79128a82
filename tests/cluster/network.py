"""The cable between the host and the node: a veth pair, whose host end also says whose node it is."""

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import BRIDGE, POD_CIDR, REPOSITORY, SERVICE_CIDR, UPLINK_HOST, UPLINK_NODE
from tests.cluster.processes import Process, run, succeeds
from tests.cluster.say import ClusterError

HOST_END = "lockstep0"
NODE_END = "lockstep1"
_UPLINK = f"{UPLINK_HOST}/30"


@dataclass(frozen=True)
class Owner:
    """The node that holds the addresses on this machine."""

    process: Process
    checkout: Path

    def __str__(self) -> str:
        return f"{self.process} {self.checkout}"


def owner() -> Owner | None:
    """Return whose node the cable belongs to, as written on its host end."""
    if not Path("/sys/class/net", HOST_END).exists():
        return None
    alias = Path("/sys/class/net", HOST_END, "ifalias").read_text().strip()
    pid, _, rest = alias.partition(" ")
    started, _, checkout = rest.partition(" ")
    process = Process.parse(f"{pid} {started}")
    return Owner(process, Path(checkout)) if process else None


def is_ours() -> bool:
    """Return whether a cable of this checkout's node lies on this machine."""
    found = owner()
    return found is not None and found.checkout == REPOSITORY


def check_no_other() -> None:
    """Make sure that no other checkout's node runs on this machine.

    Raises:
        ClusterError: one does, and holds the addresses.
    """
    found = owner()
    if found and found.checkout != REPOSITORY and found.process.alive():
        raise ClusterError(
            f"The node of {found.checkout} already holds {BRIDGE} on this machine: run `make cluster-down` there first"
        )


def check_free() -> None:
    """Make sure that nothing else on this machine holds the node's addresses.

    Raises:
        ClusterError: some network overlaps them.
    """
    wanted = [ipaddress.ip_network(text, strict=False) for text in (POD_CIDR, SERVICE_CIDR, _UPLINK)]
    for route in json.loads(run("ip", "-json", "-4", "route", "show") or "[]"):
        if route.get("dev") == HOST_END or route["dst"] == "default":
            continue
        taken = ipaddress.ip_network(route["dst"], strict=False)
        if any(network.overlaps(taken) for network in wanted):
            raise ClusterError(
                f"{taken} on {route.get('dev', '?')} overlaps the node's addresses ({POD_CIDR}, {SERVICE_CIDR}, "
                f"{_UPLINK}): remove that network (`ip route show {taken}`) and try again"
            )


def plug(process: Process) -> None:
    """Lay the cable to a node, given its init, and the host's routes to its pods and Services."""
    unplug()
    run("ip", "link", "add", HOST_END, "type", "veth", "peer", "name", NODE_END)
    run("ip", "link", "set", HOST_END, "alias", str(Owner(process, REPOSITORY)))
    run("ip", "address", "add", _UPLINK, "dev", HOST_END)
    run("ip", "link", "set", HOST_END, "up")
    for network in (POD_CIDR, SERVICE_CIDR):
        run("ip", "route", "replace", network, "via", UPLINK_NODE, "dev", HOST_END)
    # Last: the node's init waits for this end, and everything else is in place by then.
    run("ip", "link", "set", NODE_END, "netns", str(process.pid))


def unplug() -> None:
    """Remove the cable; the routes over it go with it."""
    if Path("/sys/class/net", HOST_END).exists():
        succeeds("ip", "link", "delete", HOST_END)


def configure_node_side() -> None:
    """Inside the node's network namespace: addresses, the bridge, forwarding."""
    commands = (
        "link set lo up",
        f"link set {NODE_END} up",
        f"address add {UPLINK_NODE}/30 dev {NODE_END}",
        f"route add default via {UPLINK_HOST}",
        "link add cni0 type bridge",
        f"address add {BRIDGE}/{POD_CIDR.partition('/')[2]} dev cni0",
        "link set cni0 up",
    )
    for command in commands:
        run("ip", *command.split())
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
