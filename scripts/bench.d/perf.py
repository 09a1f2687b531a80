"""perf(1) on a daemon, switched on only while the phases that were asked for run.

Two FIFOs are the way to tell it (perf-record(1), `--control`): a workload says "enable" just before its timed part and
"disable" just after, and waits for the answer each time, so that preparing and checking are not in the picture.
"""

import contextlib
import os
import subprocess
import time

from processes import Failed, last_words

ANSWER = b"ack\n\0"
READY_SECONDS_MAX = 30
END_SECONDS_MAX = 120


class Recording:
    """One `perf record` of one process, without figures until it is told to."""

    def __init__(self, directory, name, pid, arguments):
        self.data, self.log = directory / f"{name}.data", directory / f"{name}.log"
        self.commands, self.answers = directory / f"{name}.commands", directory / f"{name}.answers"
        for fifo in (self.commands, self.answers):
            os.mkfifo(fifo)
        control = f"--control=fifo:{self.commands},{self.answers}"
        command = ["perf", "record", *arguments, "--delay=-1", control, "--output", self.data, "--pid", pid]
        with open(self.log, "wb") as said:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        # Opened for reading too: then neither open waits for the other end, and an end of perf is no SIGPIPE.
        self._commands = os.open(self.commands, os.O_RDWR)
        self._answers = os.open(self.answers, os.O_RDWR | os.O_NONBLOCK)
        self.tell("ping", READY_SECONDS_MAX)

    def tell(self, command, seconds_max=10):
        """Give a command and wait until it is obeyed."""
        os.write(self._commands, command.encode() + b"\n")
        deadline, answer = time.monotonic() + seconds_max, b""
        while len(answer) < len(ANSWER):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"perf record does not answer to {command}: {last_words(self.log)}")
            with contextlib.suppress(BlockingIOError):
                answer += os.read(self._answers, len(ANSWER) - len(answer))
                continue
            time.sleep(0.001)

    @contextlib.contextmanager
    def on(self):
        """perf records inside."""
        self.tell("enable")
        try:
            yield
        finally:
            self.tell("disable")

    def end(self):
        """Have the file completed; returns it."""
        with contextlib.suppress(Failed):
            self.tell("stop")
        try:
            self.process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed("perf record did not end") from None
        finally:
            os.close(self._commands)
            os.close(self._answers)
        if self.process.returncode != 0 or not self.data.exists():
            raise Failed(f"perf record: {last_words(self.log)}")
        return self.data
