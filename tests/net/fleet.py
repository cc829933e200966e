"""Many agents on one relay, each a process of its own: what the programs t_scale_slow and t_churn
share. Isolated (adit_test.isolate), so that every agent has an address of its own."""

import contextlib
import os
import re
import selectors
import signal
import socket
import threading

from adit_test import *

# Of agents and visitors: 127.1.0.1, 127.1.1.1 ... one relay address each, whose route says what
# source address belongs to it.
ADDRESSES = 250


def many_addresses():
    """The kernel takes 127.1.K.1 as the source of what goes to 127.1.K.1, not 127.0.0.1."""
    lines = [f"route add local 127.1.{k}.0/24 dev lo src 127.1.{k}.1 table local\n"
             for k in range(ADDRESSES)]
    # A path as most have it: larger packets need larger buffers in each QUIC connection.
    sh("ip link set lo up mtu 1500")
    done = subprocess.run(["ip", "-batch", "-"], input="".join(lines), text=True, check=False,
                          capture_output=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise Failed(f"ip route: {done.stderr.strip()}")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def address_of(index):
    return f"127.1.{index % ADDRESSES}.1"


class FleetAgent(Process):
    """As Agent, without its key's id (which costs a process to ask for) and its tables."""

    quiet = True

    def __init__(self, lab, relay, index, services, settings):
        self.index = index
        self.state = lab.path(f"a{index}.state")
        os.makedirs(self.state, exist_ok=True)
        config = lab.path(f"a{index}.toml")
        toml_file(config, {"state_dir": self.state, "io_backend": "epoll", "carrier": CARRIER,
                           **settings, "log": {"format": "json", "level": "info"},
                           "relay": [{"address": f"{address_of(index)}:{relay.port}",
                                      "name": DOMAIN}],
                           "service": services})
        super().__init__(lab, f"a{index}", [ADIT, "agent", "-c", config])

    @property
    def host_name(self):
        return f"{agent_id(self.state)}.{DOMAIN}"


class Idle:
    """A local service that takes connections, reads what comes and, where it has an `answer`, gives
    that to the first bytes of each. A process of its own: ten thousand connections are ten thousand
    descriptors, which the visitors need as well."""

    def __init__(self, lab, answer=b""):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.answer, self.fresh = answer, set()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.serve()
            finally:
                os._exit(1)
        self.listener.close()
        lab.on_exit(self.stop)

    def serve(self):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        poll = selectors.EpollSelector()
        self.listener.setblocking(False)
        poll.register(self.listener, selectors.EVENT_READ)
        parent = os.getppid()
        while os.getppid() == parent:
            for key, _ in poll.select(1.0):
                if key.fileobj is self.listener:
                    self.accept(poll)
                else:
                    self.read(poll, key.fileobj)

    def accept(self, poll):
        for _ in range(256):
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            self.fresh.add(sock)
            poll.register(sock, selectors.EVENT_READ)

    def read(self, poll, sock):
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            poll.unregister(sock)
            self.fresh.discard(sock)
            return sock.close()
        if sock in self.fresh:
            self.fresh.remove(sock)
            with contextlib.suppress(OSError):
                sock.send(self.answer)

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def rollup(pid):
    """Bytes of /proc/PID/smaps_rollup by name."""
    found = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f:
            if m := re.match(r"(\w+): +(\d+) kB", line):
                found[m.group(1)] = int(m.group(2)) * KIB
    return found


def own_memory(pid):
    """Resident bytes that no other process has: what the process itself costs."""
    return rollup(pid)["Private_Dirty"]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kernel_slab():
    """Bytes that the whole machine's kernel has for its objects, sockets among them."""
    with open("/proc/meminfo", encoding="ascii") as f:
        return sum(int(line.split()[1]) * KIB for line in f if line.startswith("Slab:"))


def in_waves(items, work, at_a_time=64):
    """`work` of each, several at a time; the first failure is raised."""
    pending, failures, lock = list(reversed(items)), [], threading.Lock()

    def run_some():
        while not failures:
            with lock:
                if not pending:
                    return
                item = pending.pop()
            try:
                work(item)
            except Exception as e:  # told below, by the thread that waits
                failures.append(e)

    threads = [threading.Thread(target=run_some) for _ in range(at_a_time)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
