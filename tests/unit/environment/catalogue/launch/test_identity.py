"""As which user and group a process of an image starts."""

import pytest

from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.identity import identity
from tests.fakes.roots import debian, tree


@pytest.mark.parametrize(("user", "ids"), [("", (0, 0)), ("1000", (1000, 1000)), ("app", (1000, 1000)), ("10001", (10001, 0))])
def test_the_group_is_what_passwd_says_and_else_none_but_roots(user: str, ids: tuple[int, int]) -> None:
    assert identity(tree(debian()), user) == ids


def test_a_name_that_is_nobodys_is_refused() -> None:
    with pytest.raises(CatalogueError, match="'ghost' is not in its /etc/passwd"):
        identity(tree(debian()), "ghost")
