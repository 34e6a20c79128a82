# A real Kubernetes node for the end-to-end tests and the demo; see tests/cluster/. Standard library only: no virtual
# environment is needed. With Docker or Podman and kind on the PATH it is a kind cluster, else a sandbox (root, Linux);
# LOCKSTEP_NODE=sandbox or LOCKSTEP_NODE=kind decides otherwise.
CLUSTER = python3 -m tests.cluster

.PHONY: cluster-up cluster-down cluster-status cluster-binaries cluster-images cluster-check-kind

cluster-up: ## Start the test node (idempotent); the first run builds Kubernetes from its Go modules
	@$(CLUSTER) up

cluster-down: ## Stop the test node and remove every trace of it, also after a crash
	@$(CLUSTER) down

cluster-status: ## Say how the test node and its components fare
	@$(CLUSTER) status

cluster-binaries: ## Build the test node's programs into the user's cache, with those of the scale tests
	@$(CLUSTER) build --scale

cluster-images: ## Make the base image that the tests' images are built on
	@$(CLUSTER) base-image

cluster-check-kind: ## Check kind-config.yaml against kind's own v1alpha4 types
	@$(CLUSTER) check-kind-config
