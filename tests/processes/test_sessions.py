"""What a program may do with a session, and what Lava may not do to the program."""

import signal
import time


def test_calls_after_close_say_so(play):
    play("""
        network = chain(tanh())
        session = Lava().open(network)
        session.close()
        session.close()
        assert type(failure(lambda: session.relax(prepare(network, *data())))) is SessionClosedError
        assert type(failure(lambda: next(session.learn(learning(network), lambda _: None)))) is SessionClosedError
        session.close()

        session = Lava().open(network)
        trace = session.relax(prepare(network, *data()))
        session.close()
        assert type(failure(lambda: session.relax(prepare(network, *data())))) is SessionClosedError
        assert set(trace.gradients) == set(network.plastic)
    """)


def test_a_failure_closes_the_session(play):
    """The next call says that it is closed, not that something else failed; the next session is as good as new."""
    play("""
        network = chain(tanh(boom))
        with Lava().open(network) as session:
            assert type(failure(lambda: session.relax(prepare(network, *data())))) is SimulatorError
            assert session.pids == []
            assert type(failure(lambda: session.relax(prepare(network, *data())))) is SessionClosedError
            assert type(failure(lambda: next(session.learn(learning(network), lambda _: None)))) is SessionClosedError
            session.close()
        dn.relax(chain(tanh()), *data(), backend=Lava())
    """)


def test_a_function_that_cannot_be_sent_is_refused_and_the_session_lives(play):
    play("""
        lock = threading.Lock()

        def locked(u):
            with lock:
                return np.tanh(u)

        network = chain((locked, slope))
        error = failure(lambda: dn.relax(network, *data(), backend=Lava()))
        assert type(error) is dn.errors.OptionError and "lock" in str(error), error
    """)


def test_learn_may_be_dropped_after_an_epoch(play):
    play("""
        network = chain(tanh())
        with Lava().open(network) as session:
            for number, epoch in enumerate(session.learn(learning(network, epochs=5), lambda _: None)):
                assert len(epoch.losses) == 4
                if number == 1:
                    break
        session = Lava().open(network)
        epochs = session.learn(learning(network, epochs=5), lambda _: None)
        next(epochs)
        epochs.close()
        assert not children()
        assert type(failure(lambda: session.relax(prepare(network, *data())))) is SessionClosedError
        session.learn(learning(network), print)  # never started, so nothing to end
    """)


def test_another_order_in_the_middle_of_learning(play):
    """Lava cannot run two circuits in one interpreter: the second order is either refused or served, and spoils nothing."""
    play("""
        network = chain(tanh())
        with Lava(timeout=10.0).open(network) as session:
            straight = [epoch.parameters for epoch in session.learn(learning(network), lambda _: None)]
        wanted = dn.relax(network, *data(), backend=dn.backends.Reference())
        with Lava(timeout=10.0).open(network) as session:
            found = []
            for epoch in session.learn(learning(network), lambda _: None):
                found.append(epoch.parameters)
                try:
                    trace = session.relax(prepare(network, *data()))
                    assert all(np.allclose(trace.gradients[key], wanted.gradients[key], atol=1e-12) for key in wanted.gradients)
                except dn.DyadicError as error:
                    assert "Traceback" not in str(error), error
            assert len(found) == 3
            for one, other in zip(found, straight):
                assert all(np.array_equal(one[key], other[key]) for key in one)
    """)


def test_a_callback_that_raises_or_is_slow(play):
    """What it raises comes out as it is; what it waits is not taken for Lava's silence."""
    play("""
        network = chain(tanh())

        def raising(loss):
            raise LookupError("not today")

        with Lava().open(network) as session:
            error = failure(lambda: list(session.learn(learning(network), raising)))
            assert type(error) is LookupError, error
            assert type(failure(lambda: session.relax(prepare(network, *data())))) is SessionClosedError

        seen = []

        def slow(loss):
            if not seen:
                time.sleep(4.5)
            seen.append(loss)

        with Lava(timeout=4.0).open(network) as session:
            losses = np.concatenate([epoch.losses for epoch in session.learn(learning(network), slow)])
            assert seen == list(losses) and len(seen) == 12

        def closing(loss):
            session.close()

        session = Lava(timeout=10.0).open(network)
        error = failure(lambda: list(session.learn(learning(network), closing)))
        assert isinstance(error, (SessionClosedError, SimulatorError)), error
    """)


def test_a_window_longer_than_the_timeout_while_steps_go_on(play):
    play("""
        def leisurely(u):
            time.sleep(0.05)
            return np.tanh(u)

        network = chain((Spoilt(np.tanh, leisurely), Spoilt(slope)))
        trace = dn.relax(network, *data(), steps=100, record="last", backend=Lava(timeout=4.0))
        assert all(np.abs(trace.gradients[key] - right).max() < 1e-12 for key, right in dn.backprop(network, *data()).items())
    """)


def test_sessions_leak_nothing(play):
    play("""
        network = chain(tanh())

        def count():
            files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
            kinds = sorted(os.readlink(file).split(":")[0] for file in files if os.path.exists(file))
            return kinds, len(os.listdir("/proc/self/task")), threading.active_count(), children()

        def use():
            with Lava().open(network) as session:
                session.relax(prepare(network, *data()))
                list(session.learn(learning(network, epochs=1), lambda _: None))

        def fail():
            assert type(failure(lambda: dn.relax(chain(tanh(boom)), *data(), backend=Lava()))) is SimulatorError

        use()
        before = count()
        for _ in range(5):
            use()
        fail()
        Lava().open(network).close()
        deadline = time.monotonic() + 5.0
        while count() != before and time.monotonic() < deadline:
            time.sleep(0.05)  # the system takes a moment to forget a thread that has ended
        assert count() == before, (before, count())
        assert before[2:] == (1, []), before
    """)


def test_threads(play):
    """A session serves any thread, also after the one that opened it has ended, and main threads have no privilege."""
    play("""
        network, said = chain(tanh()), {}
        right = dn.relax(network, *data(), backend=dn.backends.Reference())

        def thread(action):
            runner = threading.Thread(target=action)
            runner.start()
            runner.join(20)
            assert not runner.is_alive()

        thread(lambda: said.update(session=Lava().open(network)))
        time.sleep(0.5)
        session = said["session"]
        assert same(session.relax(prepare(network, *data())), right)
        thread(lambda: said.update(trace=session.relax(prepare(network, *data()))))
        assert same(said["trace"], right)
        thread(lambda: said.update(epochs=session.learn(learning(network), lambda _: None)))
        thread(lambda: said.update(first=next(said["epochs"])))
        assert len(list(said["epochs"])) == 2
        thread(session.close)
        thread(lambda: said.update(whole=dn.relax(network, *data(), backend=Lava())))
        assert same(said["whole"], right)
    """)


def test_two_threads_at_once(play):
    """Either they take turns or one is told off; neither gets the other's numbers, and nothing hangs."""
    play("""
        network = chain(tanh())
        orders = [prepare(network, factor * data()[0], data()[1]) for factor in (1.0, 2.0)]
        rights = [dn.relax(network, order.inputs, order.targets, backend=dn.backends.Reference()) for order in orders]
        for _ in range(3):
            with Lava(timeout=5.0).open(network) as session:
                results = [None, None]

                def run(i):
                    try:
                        results[i] = session.relax(orders[i])
                    except dn.DyadicError as error:
                        results[i] = error

                threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(20)
                    assert not thread.is_alive()
                for result, right in zip(results, rights):
                    if isinstance(result, dn.DyadicError):
                        assert type(result) is not SimulatorTimeoutError and "Traceback" not in str(result), result
                    else:
                        assert same(result, right)
                assert any(not isinstance(result, dn.DyadicError) for result in results), results
    """)


def test_close_from_another_thread_ends_a_run(play):
    play("""
        network = chain(tanh())
        session = Lava().open(network)
        threading.Timer(0.8, session.close).start()
        error = failure(lambda: session.relax(endless(network)))
        assert isinstance(error, (SessionClosedError, SimulatorError)), error
        assert not isinstance(error, SimulatorTimeoutError)
    """)


def test_sessions_side_by_side(play):
    """One fails, the other one does not notice; both are served at once."""
    play("""
        good, bad = chain(tanh()), chain(tanh(boom))
        with Lava().open(good) as first, Lava().open(bad) as second:
            epochs = first.learn(learning(good), lambda _: None)
            next(epochs)
            assert type(failure(lambda: second.relax(prepare(bad, *data())))) is SimulatorError
            assert len(list(epochs)) == 2
            first.relax(prepare(good, *data()))
    """)


def test_the_program_keeps_its_own_settings(play):
    """Lava changes the start method of multiprocessing, the root logger and more, in whatever imports it. Here it is not us."""
    play("""
        import logging, multiprocessing

        def settings():
            handlers = [signal.getsignal(number) for number in range(1, 32)]
            return dict(os.environ), list(sys.path), handlers, np.geterr(), logging.getLogger().handlers[:]

        before = settings()
        network = chain(tanh())
        with Lava().open(network) as session:
            session.relax(prepare(network, *data()))
            list(session.learn(learning(network), lambda _: None))
        dn.train(network, data(4), backend=Lava())
        assert multiprocessing.get_start_method(allow_none=True) is None
        assert not [name for name in sys.modules if name.startswith("lava.")], "at most the empty namespace `lava` is there"
        assert settings() == before
        multiprocessing.set_start_method("spawn")
        dn.relax(network, *data(), backend=Lava())
    """)


def test_a_program_that_forks_while_a_session_is_open(play):
    """The forked process holds copies of the session's pipes; the session closes all the same, and in the parent only."""
    play("""
        network = chain(tanh())
        session = Lava().open(network)
        session.relax(prepare(network, *data()))
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        other = os.fork()
        if other == 0:
            sys.exit(0)  # runs the handlers at exit, which must not end the parent's session
        assert os.waitpid(other, 0)[1] == 0
        session.relax(prepare(network, *data()))
        session.close()
        assert children() == [pid]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    """)


def test_a_program_that_was_suspended_goes_on(scenes):
    """Ctrl-Z, then fg after longer than the timeout: the silence was the program's own."""
    scene = scenes("""
        network = chain(tanh(telling("running")))
        with Lava(timeout=2.0).open(network) as session:
            assert len(list(session.learn(learning(network, epochs=1, windows=2000), lambda _: None))) == 1
    """)
    scene.wait_for("running")
    time.sleep(0.3)  # of the more than 3 seconds that the learning takes
    scene.process.send_signal(signal.SIGSTOP)
    time.sleep(2.4)
    assert scene.process.poll() is None, "it ended too soon for this test"
    scene.process.send_signal(signal.SIGCONT)
    scene.ends()


def test_a_family_ends_in_its_own_folder_only(play):
    """The folder for sockets vanishes, as a cleaner of temporary files may have it: no other one is removed in its place."""
    play("""
        import shutil
        mine, precious = Path(os.environ["TMPDIR"]), Path("precious").absolute()
        precious.mkdir()
        (precious / "file").touch()
        os.environ["TEMP"] = str(precious)  # where Python looks next for temporary files
        for action in (lambda session: None), (lambda session: failure(lambda: session.relax(prepare(chain(), *data())))):
            session = Lava(timeout=5.0).open(chain())
            time.sleep(0.5)
            for folder in mine.iterdir():
                shutil.rmtree(folder)
            action(session)
            session.close()
            assert (precious / "file").exists()
            shutil.rmtree(precious)
            precious.mkdir()
            (precious / "file").touch()
    """)


def test_closed_standard_streams(play):
    """As a daemon runs."""
    play(
        """
        for fd in 0, 1, 2:
            os.close(fd)
        network = chain(tanh())
        try:
            with Lava(timeout=8.0).open(network) as session:
                session.relax(prepare(network, *data()))
        except BaseException as error:
            Path("error").write_text(repr(error))
            os._exit(9)
        os._exit(0)
    """,
        flags=(),
    )


def test_stray_files_are_not_executed(play):
    """Lava looks for models by executing whatever lies around, and Python for modules in the working directory.

    Next to the program lie names that it does not import itself; in the working directory, which is none of the program's
    business, also such as Lava and its interpreter do import.
    """
    play("""
        own = ["stray", "models", "process", "input", "sitecustomize", "usercustomize"]
        others = ["lava", "cloudpickle", "queue", "random", "multiprocessing", "scipy", "dyadic_neuro", "json"]
        executed, elsewhere = Path("executed").absolute(), Path("elsewhere").absolute()
        elsewhere.mkdir()
        for folder, names in (Path.cwd(), own), (elsewhere, own + others):
            for name in names:
                (folder / f"{name}.py").write_text(f"print(__file__, file=open({str(executed)!r}, 'a'))")
        os.chdir(elsewhere)
        try:
            dn.relax(chain(tanh()), *data(), backend=Lava(timeout=10.0))
            dn.train(chain(tanh()), data(4), backend=Lava(timeout=10.0))
        finally:
            assert not executed.exists(), executed.read_text()
    """)
