"""Child processes on a fixed core: start, CPU time, memory, end. Others are never signalled."""

import ctypes
import dataclasses
import os
import resource
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something of the run's surroundings; the text is for the person who runs it."""


@dataclasses.dataclass
class Cores:
    proxy: int
    load: int


def pick_cores():
    """Core 0 for the proxy and core 1 for the load, or the first two that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for the load")
    return Cores(allowed[0], allowed[1])


def raise_fd_limit(wanted=1 << 16):
    """Returns how many descriptors a child may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = hard if hard != resource.RLIM_INFINITY else wanted
    if top < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except (ValueError, OSError):
            pass  # not root: what there is must do
    if soft < top:
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
    return min(top, wanted)


def search_path():
    """PATH, and where daemons are even if a user's PATH leaves them out."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def free_port(ip, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind((ip, 0))
        return s.getsockname()[1]


def _stat(pid):
    """(parent, CPU seconds with those of reaped children, start time) or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            fields = f.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    ticks = sum(int(x) for x in fields[11:15])
    return int(fields[1]), ticks * TICK, int(fields[19])


class Child:
    """A process and what it starts, on one core. Its output goes to `log`."""

    def __init__(self, argv, core, log, stdin=subprocess.DEVNULL, stdout=None, cwd=None, env=None):
        self.argv = argv
        self.log = log

        def prepare():
            os.sched_setaffinity(0, {core})
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                argv, stdin=stdin, stdout=stdout if stdout is not None else out, stderr=out,
                preexec_fn=prepare, cwd=cwd, env=env)
        self.pid = self.process.pid

    def tree(self):
        """pids of the process and all its descendants."""
        children = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                stat = _stat(name)
                if stat:
                    children.setdefault(stat[0], []).append(int(name))
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue.extend(children.get(pid, []))
        return found

    def cpu(self):
        """utime + stime of all threads; io_uring's kernel workers are threads of their process."""
        return sum(s[1] for s in map(_stat, self.tree()) if s)

    def memory(self):
        """KiB: private_dirty, pss, rss, summed over the processes."""
        total = {"private_dirty": 0, "pss": 0, "rss": 0}
        keys = {"Private_Dirty:": "private_dirty", "Pss:": "pss", "Rss:": "rss"}
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                    for line in f:
                        words = line.split()
                        if words[0] in keys:
                            total[keys[words[0]]] += int(words[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
        return total

    def running(self):
        return self.process.poll() is None

    def last_words(self, lines=12):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:]).strip()
        except FileNotFoundError:
            return ""

    def stop(self):
        """SIGTERM to the process, SIGKILL to what of it is left after 3 s."""
        family = {pid: _stat(pid) for pid in self.tree()}
        if self.running():
            self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            pass
        for pid, before in family.items():
            now = _stat(pid)
            # The start time tells whether the number still means the same process.
            if before and now and now[2] == before[2]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.process.wait(3)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


def wait_until(ready, seconds, what, child=None):
    """Polls `ready` (a call that returns a true value) until it is, or raises BenchError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if child and not child.running():
            raise BenchError(f"{what}: ended at once: {child.last_words()}")
        value = ready()
        if value:
            return value
        time.sleep(0.05)
    words = f": {child.last_words()}" if child else ""
    raise BenchError(f"{what}: not ready after {seconds} s{words}")


def cpu_line():
    """/proc/stat of the whole machine: (busy, all, stolen) in ticks."""
    with open("/proc/stat", encoding="ascii") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    idle = v[3] + v[4]
    return sum(v) - idle, sum(v), v[7]


def noise(seconds=1.0):
    """Share of the machine that others use while this run does nothing."""
    busy, total, _ = cpu_line()
    time.sleep(seconds)
    busy2, total2, _ = cpu_line()
    return (busy2 - busy) / max(1, total2 - total)
