"""Runs a command and measures its whole process tree: wall seconds, CPU-seconds and peak memory.

    python -m benchmarks.measure --json figures.json -- python -m pipeline curate ...

`time` and a parent's own accounting miss processes that nobody waited for: pools whose server outlives the main program, and
whatever else is left orphaned. So a supervisor of its own makes itself *child subreaper*: every orphan below it becomes its
child, it waits until it has no child left, and the kernel's total for reaped children (`RUSAGE_CHILDREN`) is then the CPU of
the tree, to the clock tick, however short-lived a process was. One thing escapes that total: a process whose parent ignores
SIGCHLD, which the kernel reaps without counting. A second figure, sampled from `/proc` (the last times ever seen of each
process, so slightly low), is reported beside it and would show such a loss.

Memory is sampled: the sum of resident sets (RSS, what is usually quoted, which counts the pages that forked workers share once for
each of them) every `interval_s`, and the sum of proportional sets (PSS, shared pages counted once in all) every fifth time.
Linux only.
"""

import argparse
import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

INTERVAL_S = 0.1
"""Seconds between two samples of memory."""
PSS_EVERY = 5
"""Samples of RSS for each sample of PSS: the kernel walks every page table for PSS."""
GRACE_S = 30.0
"""Seconds that processes may outlive the command before they are killed (and counted)."""
PR_SET_CHILD_SUBREAPER = 36
"""*Source:* prctl(2), linux/prctl.h."""
LOST_SHARE = 0.03
"""Share by which the sampled CPU may exceed the counted one (clock ticks) before the count is called incomplete."""
REPOSITORY = Path(__file__).resolve().parent.parent


class CommandFailed(RuntimeError):
    """The measured command ended with another exit code than 0; the message ends with its last output."""


@dataclass(frozen=True)
class Measured:
    """One command and the figures of its process tree."""

    command: tuple[str, ...]
    """As run."""
    exit_code: int
    """Of the command itself; negative: killed by that signal."""
    wall_s: float
    """Seconds until the command itself ended."""
    cpu_s: float
    """User and system seconds of the command and all its descendants."""
    user_s: float
    """The part of `cpu_s` spent in user space."""
    sampled_cpu_s: float
    """The same from samples: misses the last `interval_s` of each process."""
    peak_rss_bytes: int
    """Largest sum of resident set sizes over the tree."""
    peak_pss_bytes: int | None
    """Largest sum of proportional set sizes; None where the kernel does not show them."""
    peak_processes: int
    """Most processes alive at one sample."""
    killed: int
    """Processes that outlived the command by `GRACE_S`."""

    @property
    def counted_all(self) -> bool:
        """Whether the sampled CPU is consistent with the counted one."""
        return self.sampled_cpu_s <= self.cpu_s * (1 + LOST_SHARE) + 0.5


def measure(
    command: Sequence[str | os.PathLike],
    *,
    cwd: str | os.PathLike | None = None,
    env: Mapping[str, str] | None = None,
    log: str | os.PathLike | None = None,
    interval_s: float = INTERVAL_S,
    accept_failure: bool = False,
) -> Measured:
    """Runs `command` under a supervisor and returns its figures; `env` is laid over the present environment.

    Output goes to the file `log` (default: a temporary one). Raises CommandFailed for any exit code but 0 unless `accept_failure`.
    """
    with tempfile.TemporaryDirectory(prefix="measure-") as folder:
        log_path, figures = Path(log or f"{folder}/log"), Path(folder) / "figures.json"
        supervisor = [sys.executable, __file__, "--json", str(figures), "--interval_s", str(interval_s), "--quiet", "--", *map(str, command)]
        with open(log_path, "wb") as out:
            subprocess.run(supervisor, cwd=cwd, env={**os.environ, **(env or {})}, stdout=out, stderr=subprocess.STDOUT, check=False)
        if not figures.exists():
            raise CommandFailed(f"no figures of {' '.join(map(str, command))}:\n{_tail(log_path)}")
        found = json.loads(figures.read_text())
        measured = Measured(**{**found, "command": tuple(found["command"])})
        if measured.exit_code and not accept_failure:
            raise CommandFailed(f"exit code {measured.exit_code} from {' '.join(measured.command)}:\n{_tail(log_path)}")
        return measured


def supervise(command: Sequence[str], *, interval_s: float = INTERVAL_S) -> Measured:
    """Runs `command` as a child of this process, which it makes a subreaper: call it in a process of its own."""
    if sys.platform != "linux":
        raise RuntimeError(f"process trees are measured through prctl and /proc of Linux; this is {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    samples = _Samples()
    begin = time.perf_counter()
    child = subprocess.Popen(list(command))
    stop = threading.Event()
    sampler = threading.Thread(target=samples.run, args=(stop, interval_s), daemon=True)
    sampler.start()
    killed: list[int] = []
    reaper: threading.Timer | None = None
    wall_s, exit_code = 0.0, 0
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if pid == child.pid:
            wall_s, exit_code = time.perf_counter() - begin, os.waitstatus_to_exitcode(status)
            child.returncode = exit_code
            reaper = threading.Timer(GRACE_S, _kill_descendants, (killed,))
            reaper.daemon = True
            reaper.start()
    if reaper:
        reaper.cancel()
    stop.set()
    sampler.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user_s = after.ru_utime - before.ru_utime
    return Measured(
        command=tuple(command),
        exit_code=exit_code,
        wall_s=wall_s,
        cpu_s=user_s + after.ru_stime - before.ru_stime,
        user_s=user_s,
        sampled_cpu_s=sum(samples.cpu_s.values()),
        peak_rss_bytes=samples.peak_rss,
        peak_pss_bytes=samples.peak_pss,
        peak_processes=samples.peak_processes,
        killed=len(killed),
    )


class _Samples:
    """What a thread sees of this process's descendants, again and again."""

    def __init__(self) -> None:
        self.cpu_s: dict[tuple[int, float], float] = {}
        self.peak_rss, self.peak_processes = 0, 0
        self.peak_pss: int | None = None

    def run(self, stop: threading.Event, interval_s: float) -> None:
        number = 0
        while not stop.is_set():
            self.take(with_pss=number % PSS_EVERY == 0)
            number += 1
            stop.wait(interval_s)

    def take(self, *, with_pss: bool) -> None:
        rss = pss = processes = 0
        for process in psutil.Process().children(recursive=True):
            # A process may end between any two of these calls: it then counts with what was seen of it.
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                self.cpu_s[process.pid, process.create_time()] = times.user + times.system
                rss += process.memory_info().rss
                processes += 1
            if with_pss:
                pss += _pss_bytes(process.pid)
        self.peak_rss, self.peak_processes = max(self.peak_rss, rss), max(self.peak_processes, processes)
        if pss:
            self.peak_pss = max(self.peak_pss or 0, pss)


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
        for line in rollup:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) << 10
    return 0


def _kill_descendants(killed: list[int]) -> None:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
            killed.append(process.pid)


def describe_machine() -> dict[str, str]:
    """Where and when a figure was measured: processor, cores this process may use, memory, load of the last minute, kernel, Python, commit, date."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "processor": models[0] if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": gigabytes(psutil.virtual_memory().total),
        "load average": f"{os.getloadavg()[0]:.2f}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit or "unknown",
    }


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as an aligned Markdown table: the first column to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "| "
        + " | ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) if not column else "-" * (width + 1) + ":" for column, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def gigabytes(count: float | None) -> str:
    """Bytes as `1.23 GB` (10**9 bytes); `-` for None."""
    return "-" if count is None else f"{count / 1e9:.2f} GB"


def report(title: str, results: Mapping[str, object], lines: Sequence[str], json_path: str | None) -> None:
    """Prints the command line, the machine and `lines`; writes everything to `json_path` if there is one."""
    machine = describe_machine()
    command = " ".join(sys.orig_argv)
    print(f"\n## {title}\n\n    {command}\n")
    print("; ".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
    print("\n".join(lines), flush=True)
    if json_path:
        Path(json_path).write_text(json.dumps({"title": title, "command": command, "machine": machine, **results}, indent=1) + "\n")


def _tail(path: Path, max_lines: int = 25) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-max_lines:]) if path.exists() else ""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures wall seconds, CPU-seconds and peak memory of a command's whole process tree.")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    parser.add_argument("--interval_s", type=float, default=INTERVAL_S, help=f"seconds between samples of memory (default: {INTERVAL_S})")
    parser.add_argument("--quiet", action="store_true", help="print nothing but what the command prints")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("give a command after --")
    measured = supervise(command, interval_s=arguments.interval_s)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(asdict(measured), indent=1) + "\n")
    if not arguments.quiet:
        print(
            f"exit code {measured.exit_code}; wall {measured.wall_s:.2f} s; CPU {measured.cpu_s:.2f} s (sampled {measured.sampled_cpu_s:.2f}); "
            f"peak RSS {gigabytes(measured.peak_rss_bytes)}, PSS {gigabytes(measured.peak_pss_bytes)}; at most {measured.peak_processes} processes"
        )
    return measured.exit_code if measured.exit_code >= 0 else 128 - measured.exit_code


if __name__ == "__main__":
    sys.exit(main())
