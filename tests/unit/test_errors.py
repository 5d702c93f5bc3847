"""The tree of errors."""

import copy
import inspect
import pickle
import re

import pytest

from dyadic_neuro import errors

CLASSES = {
    name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, errors.DyadicError)
}


def test_the_tree_that_is_drawn_is_the_tree_there_is():
    drawn, above = {}, []
    for line in errors.__doc__.splitlines():
        found = re.match(r"[ │├└─]*(\w+Error)\s+(\w+Error)?", line)
        if found:
            above[found.start(1) // 4 :] = [found.group(1)]
            drawn[found.group(1)] = {*above[-2:-1], *filter(None, [found.group(2)])}
    assert drawn == {
        name: {base.__name__ for base in value.__bases__ if base is not Exception} for name, value in CLASSES.items()
    }


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_names_field_problem_and_fix(name):
    error = CLASSES[name]("alpha", "3 is outside (0, 2)", "use 1")
    assert (error.field, error.problem, error.fix) == ("alpha", "3 is outside (0, 2)", "use 1")
    assert str(error) == "alpha: 3 is outside (0, 2); use 1"
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.field == "alpha"
