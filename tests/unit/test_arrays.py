"""What is frozen is private and read-only, and frozen once."""

import numpy as np
import pytest

from dyadic_neuro.arrays import Room, frozen, sealed


def test_what_somebody_may_write_to_is_copied():
    values = np.arange(6.0).reshape(2, 3)
    view = values.view()
    view.setflags(write=False)
    for one in (values, view, values.T, np.frombuffer(bytearray(48))):
        found = frozen(one)
        np.testing.assert_array_equal(found, one)
        assert not np.shares_memory(found, one)
        assert type(found) is np.ndarray
        assert found.flags.c_contiguous
        with pytest.raises(ValueError, match="WRITEABLE"):
            found.setflags(write=True)


def test_what_nobody_can_write_to_is_not():
    once = frozen(np.arange(6.0))
    room = Room((3,), np.float32)
    room[...] = 1
    for one in (once, once[2:4], sealed(room), np.frombuffer(bytes(48)), np.frombuffer(bytes(48)).reshape(2, 3)):
        assert frozen(one) is one
    for one in (once[::2], np.frombuffer(bytes(49), np.float64, 6, 1)):
        assert frozen(one) is not one
        assert frozen(one).flags.carray or frozen(one).flags.c_contiguous
