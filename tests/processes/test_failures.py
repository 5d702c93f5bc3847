"""A process that goes wrong ends the run with a typed error that says which and why, and nothing stays behind."""

import pytest


def test_a_raise_in_a_step_comes_back_with_its_traceback(play):
    """In phi, in phi' and in the loss's gradient: each says which process, which step, and where."""
    play("""
        networks = {
            "hidden2": chain(tanh(), tanh(boom, at=5)),
            "hidden1": chain((Spoilt(np.tanh), Spoilt(slope, boom, at=4)), tanh()),
            "loss": chain(tanh(), tanh(), loss=(half_square, Spoilt(difference, boom, at=4))),
        }
        for name, network in networks.items():
            error = failure(lambda: dn.relax(network, *data(), backend=Lava()))
            assert type(error) is SimulatorError, error
            assert isinstance(error, RuntimeError)
            for words in (f"process '{name}' failed in step 4", "Traceback (most recent", "in boom", "ZeroDivisionError: boom"):
                assert words in str(error), error
    """)


def test_a_raise_while_learning_and_in_the_value_of_the_loss(play):
    play("""
        networks = {
            "hidden1": chain(tanh(boom, at=30)),
            "loss": chain(loss=(Spoilt(half_square, boom, at=3), difference)),
        }
        for name, network in networks.items():
            error = failure(lambda: dn.train(network, data(12), backend=Lava(), epochs=3, batch_size=2))
            assert type(error) is SimulatorError, error
            assert f"process '{name}' failed in step" in str(error) and "ZeroDivisionError: boom" in str(error), error
    """)


def test_a_raise_when_a_process_is_built(play):
    play("""
        error = failure(lambda: dn.relax(chain(tanh(), tanh(boom, at=1)), *data(), backend=Lava()))
        assert type(error) is SimulatorError, error
        for words in ("process 'hidden2' failed when it was built", "in boom", "ZeroDivisionError: boom"):
            assert words in str(error), error
    """)


def test_a_process_that_ends_itself(play):
    """It cannot say anything, so the guard has to know whom it lost. While the processes are built that takes the timeout."""
    play("""
        error = failure(lambda: dn.relax(chain(tanh(vanish, at=5)), *data(), backend=Lava()))
        assert type(error) is SimulatorError, error
        assert "'hidden1'" in str(error) and "ended, exit code 7" in str(error), error

        error = failure(lambda: dn.relax(chain(tanh(vanish, at=1)), *data(), backend=Lava(timeout=3.0)))
        assert isinstance(error, SimulatorError), error
        assert "to build" in str(error), error
    """)


def test_sigkill_of_each_process(play):
    """Whichever: input, readout, its sensitivity, loss, recorder, Lava's runtime service and its manager of shared memory."""
    play("""
        network, number, count = chain(), 0, 1
        while number < count:
            killed = []

            def kill():
                pids = wait_for(lambda: session.pids)
                time.sleep(0.05)
                os.kill(pids[number], signal.SIGKILL)
                killed.extend(pids)

            with Lava(timeout=10.0).open(network) as session:
                thread = threading.Thread(target=kill)
                thread.start()
                error = failure(lambda: session.relax(endless(network)))
                thread.join()
                assert type(error) is SimulatorError, error
                assert f"(pid {killed[number]}) ended, exit code -9" in str(error), error
                assert session.pids == [], "they are gone"
            number, count = number + 1, len(killed)
        assert count == 7
    """)


def test_sigkill_of_the_interpreter_that_runs_lava(play):
    play("""
        network = chain(tanh())
        with Lava(timeout=10.0).open(network) as session:
            (host,) = children()
            threading.Timer(0.8, os.kill, (host, signal.SIGKILL)).start()
            error = failure(lambda: session.relax(endless(network)))
        assert type(error) is SimulatorError, error
        assert "the interpreter that runs Lava ended" in str(error), error
    """)


def test_a_deadlock_ends_after_the_timeout_with_the_stack_of_the_process_that_sleeps(play):
    play("""
        error = failure(lambda: dn.relax(chain(tanh(), tanh(sleep_for_ever, at=4)), *data(), backend=Lava(timeout=5.0)))
        assert type(error) is SimulatorTimeoutError, error
        assert isinstance(error, TimeoutError) and isinstance(error, SimulatorError)
        assert "made no progress for 5 s" in str(error), error
        assert "timeout=" in error.fix, error.fix
        stack = str(error).split("process 'hidden2' in step 3 is at")[1].split("process '")[0]
        assert "in sleep_for_ever" in stack, error
    """)


def test_a_stopped_process_ends_after_the_timeout(play):
    play("""
        network = chain(tanh())
        with Lava(timeout=5.0).open(network) as session:
            # the first is the manager of shared memory, which a run does without; then come the populations
            threading.Thread(target=lambda: os.kill(wait_for(lambda: session.pids)[3], signal.SIGSTOP), daemon=True).start()
            error = failure(lambda: session.relax(endless(network)))
        assert type(error) is SimulatorTimeoutError, error
        assert "told to run" in str(error), error
    """)


@pytest.mark.parametrize("place", ["phi", "phi'", "loss"])
def test_messages_of_a_wrong_shape_or_type_are_refused_where_they_are_sent(play, place):
    play(
        """
        def wide(u, *_):
            return np.zeros((len(u), 7), u.dtype)

        def single(u, *_):
            return np.zeros(u.shape, "float32")

        def nothing(*_):
            return None

        place = sys.argv[1]
        for deed in wide, single, nothing:
            activation = (Spoilt(np.tanh, deed if place == "phi" else None), Spoilt(slope, deed if place == "phi'" else None))
            network = chain(activation, loss=(half_square, Spoilt(difference, deed if place == "loss" else None)))
            error = failure(lambda: dn.relax(network, *data(), steps=8, backend=Lava(timeout=10.0)))
            assert type(error) is SimulatorError, error
            assert f"process '{'loss' if place == 'loss' else 'hidden1'}' failed in step 3" in str(error), (deed, str(error))
            assert "Traceback (most recent call last)" in str(error), error
            if deed is not nothing:
                assert "TypeError: a message of" in str(error) and "2, 3)" in str(error), error
    """,
        place,
    )
