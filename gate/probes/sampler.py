"""Runs inside the project's own interpreter: writes down, every few milliseconds, where its threads are.

A single file with nothing beyond what an interpreter has loaded before its first line, so that it can
shadow no module of the project; copied with a `sitecustomize.py` into a directory that PYTHONPATH names
first (`gate.probes.stacks`). It must work with CPython 3.9 and later, print nothing and raise nothing:
what goes wrong ends the samples and is left as a note, if even that can be written.

One thread of its own, in every process, forked ones too, looks at the frames of the others. Three things
keep it honest. Who asks for the interpreter's lock gets it from a computing thread only after the switch
interval, but at once where that thread waits: with the usual 5 ms nearly all samples would lie in waits,
so the interval is made short. On a busy core a thread that wakes up waits until the other one waits: it
asks for real-time priority, or for a core of its own, and does without where neither is given. Whether a
thread computes is not guessed from names: right after the look the system tells whether it can run.

A file per process, `PID-NANOSECONDS.jsonl`, one JSON array a line, times in nanoseconds of CLOCK_MONOTONIC:

    process  {pid, parent, python, directory, interval, start}      first
    code     number, file, name, module, first line, text         text: Jinja2's table of lines, or empty
    node     number, node that called it (-1: none), code, line
    stack    number, innermost node, span                          span: [line, end line, column, end column]
    tick     time, gap, cpu, [thread, stack, runs], ...
    heap     number, [bytes, file, line, file, line, ...], ...      of the kind "heap" instead of ticks
    peak     number, [bytes, file, line, file, line, ...], ...
    calls    number, [file, name, line, file, module, name, calls], ...     of the kind "calls"
    note     text                                                    why there are no more samples

A tick stands for the time since `gap` before it. It names the threads whose processor clock has moved
since the tick before; the others still wait where they were. runs: 1 computes, 0 waits, -1 unknown.
stack -1: the thread has ended. cpu: what the process has used so far, without the sampler.

With PERF_GATE_KIND set, nothing is sampled: once a file `ask-0` stands in the directory memory is traced or
calls are counted, and each next `ask-N` is answered. heap: bytes held more than at the question before; peak:
the same when most was held in between. By the frames that allocated them, the innermost first. calls: of a
line and what it called since the question before, a thread apart; none where they are too many.
"""

# ruff: noqa: BLE001, B905 - nothing of ours may reach the program; zip(strict) came with 3.10
from __future__ import annotations

import _thread
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Any

    Frames = tuple[tuple[str, int], ...]

DIRECTORY = "PERF_GATE_SAMPLES"  # where the files go; without it nothing happens
INTERVAL = "PERF_GATE_SAMPLES_INTERVAL"  # seconds between two looks, on average
CORES = "PERF_GATE_SAMPLES_CORES"  # "2,3": cores for the looking thread, away from the measured ones
KIND = "PERF_GATE_KIND"  # "heap": memory is traced, "calls": calls are counted; no stack is sampled then
FORMAT = 1

LEAST_INTERVAL = 0.0005
SWITCH = 0.00002  # seconds; with less, the waiting itself costs the looking thread its turn on a busy core
FLUSH = 200_000_000  # nanoseconds between two writes; the first ones come sooner, for short-lived children
MOST_TICKS = 120.0  # seconds of ticks that name a thread
MOST_BYTES = 32_000_000
MOST_STACKS = 20_000  # distinct ones remembered; then afresh
MOST_NODES = 300_000
DEEPEST = 300  # frames from the innermost outwards

TRACED = 60  # frames of an allocation: an object-relational mapper stands between it and the project
MOST_PLACES = 200  # told of an answer, those that hold most
MOST_CALLERS = 20_000  # lines and what they call, told of an answer
STEPS = 0x20 | 0x80 | 0x200  # flags of generators, coroutines and asynchronous generators
STEP = 1_000_000  # bytes; a peak that rises by less, or by less than half, is not looked at again
ASKED = 0.01  # seconds between two looks for a question

_start_thread = _thread.start_new_thread  # gevent and eventlet replace them later
_allocate = _thread.allocate_lock
_ident = _thread.get_ident
_native = _thread.get_native_id
_sleep = time.sleep
_process_time = time.process_time_ns
_thread_time = time.thread_time_ns
_now = time.monotonic_ns
_frames = sys._current_frames
_clock = getattr(time, "clock_gettime_ns", None) if sys.platform == "linux" else None


class Sampler:
    """The looking thread of one process: started, stopped around a fork, and ended at exit.

    patience: seconds for it to end what it is at.
    """

    patience = 1.0

    def __init__(self, directory: str, interval: float, cores: set[int]) -> None:
        self.interval = max(interval, LEAST_INTERVAL)
        self.cores = cores
        self.directory = directory
        self.over = False
        self.switch = sys.getswitchinterval()
        self.fresh()

    def fresh(self) -> None:
        """Everything that belongs to one process; called again in a forked child, where nothing is shared."""
        self.pid = os.getpid()
        start = _now()
        self.path = os.path.join(self.directory, f"{self.pid}-{start}.jsonl")
        self.out: list[str] = []
        self.say(
            "process",
            {
                "format": FORMAT,
                "pid": self.pid,
                "parent": os.getppid(),
                "python": ".".join(map(str, sys.version_info[:2])),
                "directory": _working_directory(),
                "interval": int(self.interval * 1e9),
                "start": start,
            },
        )
        self.written = self.ticks = 0
        self.flushed = self.last = start
        self.wait = FLUSH // 32
        # By the id of a code object: its number, and the object, which keeps the id its own.
        self.codes: dict[int, tuple[int, CodeType]] = {}
        self.nodes: dict[tuple[int, int, int], int] = {}
        self.stacks: dict[tuple[int, ...], int] = {}
        # What two keys differ in need not be told: (node, span) gives the stack.
        self.named: dict[tuple[int, tuple[int, ...] | None], int] = {}
        self.numbers: dict[int, int] = {}
        self.threads = 0
        self.seconds: dict[int, int] = {}  # ident: the processor clock at the last look
        # By ident, the system's number of a thread and its clock; the other threads' are learnt later.
        self.natives = {_ident(): _native()}
        self.clocks = {_ident(): _clock_of(_native())}
        self.at: dict[int, int] = {}
        self.random = (self.pid * 2654435761 + start) & 0x7FFFFFFF
        self.running = False
        self.forks = 0

    def begin(self) -> None:
        """Starts the thread, where there is none. RuntimeError where the system gives none."""
        self.wake, self.done = _allocate(), _allocate()
        self.wake.acquire()
        self.done.acquire()
        self.running = True
        self.thread = 0
        try:
            _start_thread(self.run, ())
        except RuntimeError:
            self.running = False
            raise

    def end(self) -> None:
        """Stops the thread and waits for it, but not for ever: the disk may not answer."""
        if not self.running:
            return
        self.running = False
        self.wake.release()
        if not self.done.acquire(True, self.patience):
            self.over = True

    def close(self) -> None:
        """At the end of the process; nothing starts again."""
        self.over = True
        self.end()

    def run(self) -> None:
        try:
            self.prepare()
            while not self.wake.acquire(True, self.pause()):
                self.look()
                if self.ticks * self.interval > MOST_TICKS:
                    raise Enough(f"stopped after {MOST_TICKS:.0f} s of samples")
                now = _now()
                if now - self.flushed > self.wait:
                    self.tell(now)
        except Enough as enough:
            self.over = True
            self.leave(str(enough))
        except BaseException as error:  # whatever it is, the program must not see it
            self.over = True
            self.leave(f"stopped: {type(error).__name__}")
        finally:
            try:
                self.flush()
            except BaseException:
                self.over = True
            if self.over and round(sys.getswitchinterval() - SWITCH, 6) == 0:
                _quietly(sys.setswitchinterval, self.switch)
            self.done.release()

    def prepare(self) -> None:
        self.thread = _native()
        if sys.getswitchinterval() == self.switch:  # a program may have set its own
            sys.setswitchinterval(SWITCH)
        if sys.platform != "linux":
            return
        _quietly(_prompt, self.thread)
        if self.cores:
            _quietly(os.sched_setaffinity, self.thread, self.cores)
        lone = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        _quietly(os.sched_setscheduler, self.thread, lone, os.sched_param(1))

    def pause(self) -> float:
        """Half to one and a half intervals: a fixed step could fall in with the program's own."""
        self.random = (self.random * 1103515245 + 12345) & 0x7FFFFFFF
        return self.interval * (0.5 + self.random / 0x7FFFFFFF)

    def look(self) -> None:
        """One tick. The clocks come first: what moves after that is looked at again next time."""
        seconds, clocks = self.seconds, self.clocks
        before = {ident: _read(clock) for ident, clock in clocks.items()}
        now = _now()
        frames = _frames()
        mine = _ident()
        moved = []
        for ident, frame in frames.items():
            if ident == mine:
                continue
            clock = before.get(ident, -1)
            if clock >= 0 and seconds.get(ident) == clock:
                continue
            stack = self.stack(frame)
            if clock < 0:
                self.learn(ident)
                if self.at.get(ident) == stack and ident in self.numbers:
                    continue
            seconds[ident] = clock
            self.at[ident] = stack
            moved.append((ident, stack))
        gone = [ident for ident in self.numbers if ident not in frames]
        del frames, frame
        gap, self.last = now - self.last, now
        if moved or gone:
            self.record(now, gap, moved, gone)

    def record(self, now: int, gap: int, moved: list[tuple[int, int]], gone: list[int]) -> None:
        # Only now that nothing holds the lock is a thread that wants it one that can run.
        states = [_runs(self.natives.get(ident)) for ident, _ in moved]
        used = _process_time() - _thread_time()
        numbers = self.numbers
        self.ticks += 1
        parts: list[tuple[int, ...]] = []
        for ident in gone:
            parts.append((numbers.pop(ident), -1, -1))
            for known in (self.seconds, self.clocks, self.natives, self.at):
                known.pop(ident, None)
        for (ident, stack), runs in zip(moved, states):
            number = numbers.get(ident)
            if number is None:
                number = numbers[ident] = self.threads
                self.threads += 1
            parts.append((number, stack, runs))
        self.say("tick", now, gap, used, *parts)

    def learn(self, ident: int) -> None:
        """The system's number of a thread that `threading` knows, and with it the processor clock.

        pthread_getcpuclockid would do for any thread, but reads the memory of one that may have ended.
        """
        self.clocks.pop(ident, None)
        self.natives.pop(ident, None)
        threading = sys.modules.get("threading")
        thread = getattr(threading, "_active", {}).get(ident)
        native = getattr(thread, "_native_id", None)
        if isinstance(native, int):
            clock = _clock_of(native)
            if _read(clock) >= 0:
                self.clocks[ident] = clock
                self.natives[ident] = native

    def stack(self, frame: FrameType) -> int:
        """The number of a stack; a new one is written down. A frame that calls itself is told once."""
        codes = self.codes
        leaf = frame.f_code
        places: list[int] = []
        last = frame.f_lasti
        before = line = None
        left = DEEPEST
        caller: FrameType | None = frame
        while caller is not None and left:
            code = caller.f_code
            at = caller.f_lineno
            if code is not before or at != line:
                number = id(code)
                if number not in codes:
                    self.code(code, caller.f_globals)
                places += (number, at)
                before, line = code, at
                left -= 1
            caller = caller.f_back
        key = (*places, last)
        known = self.stacks.get(key)
        if known is None:
            if len(self.stacks) >= MOST_STACKS:
                self.stacks.clear()
            known = self.stacks[key] = self.name(key, leaf)
        return known

    def name(self, key: tuple[int, ...], code: CodeType) -> int:
        parent = -1
        for place in range(len(key) - 3, -1, -2):
            step = (parent, self.codes[key[place]][0], key[place + 1] or 0)
            node = self.nodes.get(step)
            if node is None:
                node = len(self.nodes)
                if node >= MOST_NODES:
                    raise Enough("stopped: too many different stacks")
                self.nodes[step] = node
                self.say("node", node, *step)
            parent = node
        stack = (parent, _span(code, key[-1]))
        number = self.named.get(stack)
        if number is None:
            number = self.named[stack] = len(self.named)
            self.say("stack", number, *stack)
        return number

    def code(self, code: CodeType, names: dict[str, object]) -> None:
        number = len(self.codes)
        self.codes[id(code)] = (number, code)
        text = None if code.co_filename.endswith(".py") else names.get("debug_info")
        module = _text(names.get("__name__"))  # a template has none
        self.say("code", number, code.co_filename, _name(code), module, code.co_firstlineno, _text(text))

    def say(self, *line: object) -> None:
        self.out.append(_json(line))

    def tell(self, now: int) -> None:
        """Writes. While nothing moves, an empty tick says that nothing did."""
        if not self.out:
            self.say("tick", self.last, 0, _process_time() - _thread_time())
        self.flush()
        self.flushed = now
        self.wait = min(self.wait * 2, FLUSH)

    def flush(self) -> None:
        """Appends to the file, which is open only meanwhile: a program may close every descriptor it finds.

        OSError where the disk is full or the directory gone.
        """
        if not self.out or self.written > MOST_BYTES:
            return
        data = ("\n".join(self.out) + "\n").encode("ascii")
        self.out = []
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            while data:
                count = os.write(descriptor, data)
                self.written += count
                data = data[count:]
        finally:
            os.close(descriptor)
        if self.written > MOST_BYTES:
            raise Enough(f"stopped after {MOST_BYTES // 1_000_000} MB of samples")

    def leave(self, reason: str) -> None:
        self.written = 0
        self.out.append("")  # the line before may be cut off
        self.say("note", reason)

    def before_fork(self) -> None:
        """No thread of ours while a process forks: since 3.12 Python warns of it, and a child could hang."""
        self.forks += 1
        if self.running:
            self.end()
            _vanished(self.thread)

    def after_in_parent(self) -> None:
        self.forks = max(self.forks - 1, 0)
        if not self.forks and not self.running and not self.over:
            self.begin()

    def after_in_child(self) -> None:
        self.fresh()
        if not self.over:
            self.begin()


class Asked(Sampler):
    """Says something whenever it is asked, and samples no stack."""

    patience = 20.0  # a large heap takes seconds to list, and a fork meanwhile would leave half of it

    def fresh(self) -> None:
        super().fresh()
        self.number = 0

    def begin(self) -> None:
        """The file is there before the program goes on: who asks waits for the answer of this process too."""
        _quietly(self.flush)
        super().begin()

    def prepare(self) -> None:
        self.thread = _native()

    def pause(self) -> float:
        return ASKED

    def asked(self) -> bool:
        return os.path.exists(os.path.join(self.directory, f"ask-{self.number}"))

    def answered(self) -> None:
        self.number += 1
        self.written = 0  # an answer is small, and each is asked for
        self.tell(_now())

    def tell(self, now: int) -> None:
        if self.out:
            super().tell(now)


class Heap(Asked):
    """Says which memory stays, by the frames that allocated it."""

    def fresh(self) -> None:
        super().fresh()
        self.forget({})

    def forget(self, held: dict[Frames, int]) -> None:
        self.held = held
        self.base = self.high = sum(held.values())
        self.top: dict[Frames, int] = {}

    def look(self) -> None:
        import _tracemalloc  # built in; the module around it is not

        if self.asked():
            self.answer()
        elif self.number:
            traced = _tracemalloc.get_traced_memory()[0]
            if traced > self.high + max(STEP, (self.high - self.base) // 2):
                self.high, self.top = traced, _traced()

    def answer(self) -> None:
        """Nothing is collected: that would run the program's finalizers in a thread it does not know."""
        import _tracemalloc

        if not _tracemalloc.is_tracing():
            _tracemalloc.start(TRACED)
        held = _traced()
        self.say("peak", self.number, *self.more(self.top))
        self.say("heap", self.number, *self.more(held))
        self.forget(held)
        self.answered()

    def more(self, held: dict[Frames, int]) -> list[tuple[object, ...]]:
        known = self.held
        grown = [(size - known.get(frames, 0), frames) for frames, size in held.items()]
        grown.sort(key=lambda each: -each[0])
        return [
            (size, *(part for frame in frames for part in frame))
            for size, frames in grown[:MOST_PLACES]
            if size > 0
        ]


class Calls(Asked):
    """Says which lines called which Python functions, and how often, in any thread.

    A generator or coroutine counts when it begins: how often it goes on hangs on who waits for what. The
    same frame is behind each of its steps, and at its first one it has come less far than at any later one.
    """

    def fresh(self) -> None:
        super().fresh()
        self.counting = False
        # By thread, for no two of them may count into one place; then by outer code, its line and inner code,
        # which an entry keeps, and with them their ids.
        self.counts: dict[int, dict[tuple[int, int, int], list[Any]]] = {}
        self.starts: dict[int, int] = {}

    def begin(self) -> None:
        import threading  # whole before the first question

        super().begin()
        if not hasattr(threading, "setprofile_all_threads"):  # before 3.12 a thread has it set by itself
            threading.setprofile(self.see)
            sys.setprofile(self.see)

    def look(self) -> None:
        if not self.asked():
            return
        counts, self.counts = self.counts, {}
        if not self.counting:
            self.counting = True
            threading = sys.modules["threading"]
            if hasattr(threading, "setprofile_all_threads"):
                threading.setprofile_all_threads(self.see)
        found = [each for one in list(counts.values()) for each in list(one.values())]
        told = [
            (outer.co_filename, _name(outer), line, inner.co_filename, module, _name(inner), calls)
            for calls, outer, line, inner, module in found
            if __file__ not in (outer.co_filename, inner.co_filename)
        ]
        self.say("calls", self.number, *(told if len(told) <= MOST_CALLERS else ()))
        self.answered()

    def see(self, frame: FrameType, event: str, _: object) -> None:
        if not self.counting or event != "call" or frame.f_back is None:
            return
        inner, outer = frame.f_code, frame.f_back.f_code
        if inner.co_flags & STEPS:
            number, last = id(inner), frame.f_lasti
            if last > self.starts.get(number, last):
                return
            self.starts[number] = last
        ident = _ident()
        counts = self.counts.get(ident)
        if counts is None:
            counts = self.counts[ident] = {}
        key = (id(outer), frame.f_back.f_lineno or 0, id(inner))
        found = counts.get(key)
        if found is None:
            module = _text(frame.f_globals.get("__name__"))
            counts[key] = [1, outer, key[1], inner, module]
        else:
            found[0] += 1


def _name(code: CodeType) -> str:
    name: str = getattr(code, "co_qualname", code.co_name)
    return name


def _traced() -> dict[Frames, int]:
    """Bytes by the frames that allocated them, without our own."""
    import _tracemalloc

    found: dict[Frames, int] = {}
    for _, size, traceback, *_ in _tracemalloc._get_traces():
        frames = tuple(traceback)
        if frames[0][0] != __file__:
            found[frames] = found.get(frames, 0) + size
    return found


class Enough(Exception):
    """As many samples as there may be."""


def _json(value: object) -> str:
    """Whole numbers, strings, None, and tuples and dicts of them; whatever else, as an empty string.

    The module json is not loaded yet, and a project may have one of that name.
    """
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, tuple):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(key)}:{_json(item)}" for key, item in value.items()) + "}"
    if value is None:
        return "null"
    text = value if type(value) is str else ""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    units = text.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2])) + '"'


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _span(code: CodeType, last: int) -> tuple[int, ...] | None:
    """Where the instruction stands in the source; unknown before 3.11."""
    positions = getattr(code, "co_positions", None)
    if positions is None or last < 0:
        return None
    for number, span in enumerate(positions()):
        if number == last // 2:
            return None if None in span else tuple(span)
    return None


def _clock_of(native: int) -> int | None:
    """Linux's number for the processor clock of a thread of this process: linux/posix-timers.h."""
    return None if _clock is None else (~native << 3) | 6


def _read(clock: int | None) -> int:
    """Nanoseconds; -1 where the thread has ended or has no clock that we know."""
    if clock is None or _clock is None:
        return -1
    try:
        seen: int = _clock(clock)
    except OSError:
        return -1
    return seen


def _runs(native: int | None) -> int:
    """1 where the thread can run, 0 where it waits for something else than a core, -1 where nobody tells."""
    if native is None:
        return -1
    try:
        descriptor = os.open(f"/proc/self/task/{native}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        return 1 if os.read(descriptor, 64).rpartition(b")")[2][1:2] == b"R" else 0
    except OSError:
        return -1
    finally:
        os.close(descriptor)


def _prompt(native: int) -> None:
    """Lets timers of this thread end on time; they may be 50 us late otherwise."""
    with open(f"/proc/{native}/timerslack_ns", "w") as slack:
        slack.write("1000")


def _vanished(native: int) -> None:
    """Waits until the system has forgotten an ended thread: 20 ms at most."""
    if sys.platform != "linux" or not native:
        return
    path = f"/proc/self/task/{native}"
    for _ in range(100):
        if not os.path.exists(path):
            return
        _sleep(0.0002)


def _quietly(function: Callable[..., object], *args: object) -> None:
    """What would be good to have; without it the samples are worse, or cost more."""
    try:
        function(*args)
    except (OSError, ValueError, AttributeError):
        return


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _cores(text: str) -> set[int]:
    try:
        return {int(part) for part in text.split(",") if part.strip()}
    except ValueError:
        return set()


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.002


def refusal() -> str:
    """Why frames cannot be looked at in this interpreter; empty where they can."""
    if sys.implementation.name != "cpython":
        return "not CPython"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "free-threaded Python: the frames of a running thread cannot be read"
    return ""


def start() -> None:
    """Starts the samples of this process, where PERF_GATE_SAMPLES names a directory; never raises.

    A subinterpreter runs its own sitecustomize; the frames of all are the first one's to look at.
    """
    directory = os.environ.get(DIRECTORY)
    if not directory or not getattr(_thread, "_is_main_interpreter", lambda: True)():
        return
    try:
        interval = _seconds(os.environ.get(INTERVAL, ""))
        kind = {"heap": Heap, "calls": Calls}.get(os.environ.get(KIND, ""), Sampler)
        sampler = kind(directory, interval, _cores(os.environ.get(CORES, "")))
        reason = refusal()
        if reason:
            sampler.leave(reason)
            sampler.flush()
            return
        import atexit  # built in, so nothing of the project can stand in for it

        sampler.begin()
        atexit.register(_safe(sampler.close))
        os.register_at_fork(
            before=_safe(sampler.before_fork),
            after_in_parent=_safe(sampler.after_in_parent),
            after_in_child=_safe(sampler.after_in_child),
        )
    except BaseException:  # a program without samples is better than none
        return


def _safe(function: Callable[[], None]) -> Callable[[], None]:
    """Python prints what a hook around a fork raises."""

    def call() -> None:
        try:
            function()
        except BaseException:
            return

    return call
