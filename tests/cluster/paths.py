"""Where the test node keeps things: the cache of built binaries, the state of this checkout's node, its addresses."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("LOCKSTEP_CACHE") or Path.home() / ".cache" / "lockstep")
STATE = REPOSITORY / ".cluster"
"""Kubeconfig, certificates, logs and data of the node that belongs to this checkout."""

KUBECONFIG = STATE / "kubeconfig"
LOGS = STATE / "logs"

BRIDGE = "10.88.0.1"
"""Address of the bridge inside the node's network namespace: API server, registry and DNS listen here."""

POD_CIDR = "10.88.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
UPLINK_HOST = "10.87.0.1"
UPLINK_NODE = "10.87.0.2"
REGISTRY = f"{BRIDGE}:5000"
API_SERVER = f"https://{BRIDGE}:6443"

DATA = STATE / "data"
"""What components store, and their configuration; removed by `down`."""

PID_FILE = STATE / "node.pid"
STATUS_FILE = STATE / "status.json"
"""What the node's init says of every component."""

REQUESTS = STATE / "requests"
"""Files named after a component, in which `component stop|start|kill` asks the init for something."""

AUDIT_LOG = LOGS / "audit.log"
NODE_NAME = "lockstep-node"
CGROUP = "lockstep-node"
"""The cgroup that every pod's lies below, so that another Kubernetes on this machine keeps its own."""
