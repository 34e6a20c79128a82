"""Whatever stands in a folder of things of one kind stands in their table too: a forgotten row fails here, not in a cluster."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

from lockstep import gates
from lockstep.api import kinds
from lockstep.api.kinds import Kind
from lockstep.api.reasons import ConditionType
from lockstep.api.server import ServerKind, ServingProtocol, field_of
from lockstep.cli import commands
from lockstep.cli.main import COMMANDS, ENVIRONMENT
from lockstep.crds.resources import RESOURCES
from lockstep.environment.catalogue import system
from lockstep.environment.catalogue.system.readers import READERS
from lockstep.gates.table import GATES

POLICY_PAGE = Path(__file__).parents[2] / "docs" / "policy.md"


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(module.name)


def test_every_gate_is_in_the_table_with_a_name_and_a_condition_of_its_own_and_in_the_docs() -> None:
    assert {module.GATE.name for module in modules(gates) if hasattr(module, "GATE")} == {gate.name for gate in GATES}
    assert len({gate.name for gate in GATES}) == len({gate.condition for gate in GATES}) == len(GATES)
    assert {gate.condition for gate in GATES} <= set(ConditionType)
    (paragraph,) = (text for text in POLICY_PAGE.read_text().split("\n\n") if text.startswith("**gates** "))
    assert [gate.name for gate in GATES if f"`{gate.name}`" not in paragraph] == []


def test_every_reader_of_a_package_database_that_names_its_files_is_in_the_table() -> None:
    named = {module.__name__.rpartition(".")[2] for module in modules(system) if hasattr(module, "FILES")}
    assert named == {reader.name for reader in READERS}


def test_every_command_is_in_the_table() -> None:
    assert {module.__name__.rpartition(".")[2] for module in modules(commands)} == {
        row.module for row in (*ENVIRONMENT, *COMMANDS)
    }


def test_every_serving_protocol_is_one_that_policies_can_name_and_has_a_field() -> None:
    types = get_args(ServingProtocol)
    assert [type_.kind for type_ in types] == list(ServerKind)
    assert len({field_of(kind) for kind in ServerKind}) == len(types)


def test_every_kind_of_ours_has_a_definition() -> None:
    ours = {kind for kind in vars(kinds).values() if isinstance(kind, Kind)}
    assert {resource.kind for resource in RESOURCES} == ours
