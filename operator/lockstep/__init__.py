"""Lockstep keeps a wrong model image out of production.

The package is split so that what decides does no I/O: `environment`, `gates`, `rollout` and `api` are pure;
`images`, `lineage`, `readiness` and `controller` talk to registries, MLflow, pods and Kubernetes.
"""

__version__ = "0.1.0"
