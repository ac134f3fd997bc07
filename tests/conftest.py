"""What holds for every test process."""

import signal
import threading


def pytest_configure() -> None:
    """Interrupts work in what tests start, also when the test run itself was started in the background, where a shell ignores them."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
