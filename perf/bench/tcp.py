"""The measures of one TCP hop. A sample is a dictionary of numbers; `failed` counts connections."""

import os
import subprocess
import time

from . import load, peers, proc

GB = 1e9


def _around(proxy, work):
    """Runs `work`; returns what it gave and the CPU seconds that the proxy used meanwhile."""
    before = proxy.cpu()
    out = work()
    after = proxy.cpu()
    return out, None if before is None else max(0.0, after - before)


def per(cpu, count, scale):
    return None if cpu is None or not count else cpu / count * scale


def bulk(client, proxy, seconds, connections):
    got, cpu = _around(proxy, lambda: client.run(
        "bulk", proxy.address("bulk"), "bulk", seconds=seconds, connections=connections))
    return {"cpu_s_per_gb": per(cpu, got["bytes"], GB),
            "gb_per_s": got["bytes"] / GB / got["seconds"], "failed": got["failed"]}


def short(client, proxy, seconds, connections=32):
    got, cpu = _around(proxy, lambda: client.run(
        "short", proxy.address("small"), "small", seconds=seconds, connections=connections,
        sources=4))
    return {"cpu_us": per(cpu, got["done"], 1e6), "per_cpu_s": got["done"] / cpu if cpu else None,
            "per_s": got["done"] / got["seconds"], "failed": got["failed"]}


def pingpong(client, proxy, seconds, connections=100):
    got, cpu = _around(proxy, lambda: client.run(
        "pingpong", proxy.address("echo"), "echo", seconds=seconds, connections=connections,
        warm_up=seconds / 5))
    return {"cpu_us": per(cpu, got["messages"], 1e6), "p50_us": got["p50_us"],
            "p99_us": got["p99_us"], "per_s": got["messages"] / got["seconds"],
            "failed": got["failed"]}


def mixed(client, proxy, seconds):
    # The ping-pongs pause for 1 ms on average: without it they would fill the load's core, and the
    # bulk streams, which give way to them there, would starve and load no proxy.
    got, cpu = _around(proxy, lambda: client.run(
        "mixed", proxy.address("echo"), "echo", seconds=seconds, connections=10, pause=0.001,
        bulk_sni=load.sni("mixed"), bulk_to=proxy.address("mixed"), bulk_connections=8,
        warm_up=seconds / 5))
    rest = got["bulk"]
    return {"p50_us": got["p50_us"], "p99_us": got["p99_us"],
            "bulk_gb_per_s": rest["bytes"] / GB / rest["seconds"],
            "cpu_share": None if cpu is None else cpu / got["seconds"],
            "failed": got["failed"] + rest["failed"]}


MEASURES = {
    "bulk1": lambda b, p: bulk(b.client, p, b.seconds, 1),
    "bulk8": lambda b, p: bulk(b.client, p, b.seconds, 8),
    "short": lambda b, p: short(b.client, p, b.seconds),
    "pingpong": lambda b, p: pingpong(b.client, p, b.seconds),
    "mixed": lambda b, p: mixed(b.client, p, b.seconds),
}


class Bench:
    """Holds the servers and the running proxies of a run."""

    def __init__(self, binary, cores, folder, kinds, seconds, fd_max):
        self.cores = cores
        self.folder = folder
        self.kinds = kinds
        self.seconds = seconds
        self.fd_max = fd_max
        self.client = load.Client(binary, cores.load)
        self.servers = load.Servers(binary, cores.load, folder, len(kinds) + 1)
        self.proxies = []
        self.problems = {}

    def start(self):
        self.proxies = [peers.Direct(self.servers.upstreams[-1])]
        for kind, upstream in zip(self.kinds, self.servers.upstreams):
            try:
                self.proxies.append(peers.Proxy(kind, upstream, self.cores.proxy, self.folder,
                                                self.client))
            except proc.BenchError as e:
                self.problems[kind.name] = str(e)
        return self.proxies

    def sample(self, measure, proxy):
        return MEASURES[measure](self, proxy)

    def stop_proxies(self):
        for proxy in self.proxies:
            proxy.stop()
        self.proxies = []

    def stop(self):
        self.stop_proxies()
        self.servers.stop()

    # --- memory ---

    def idle_round(self, connections, quiet=10.0):
        """Fresh proxies, all at the same time: private dirty memory without and with connections.
        The difference, by connection, is what a quiet connection costs in user memory."""
        self.start()
        proxies = [p for p in self.proxies if p.name != "direct"]
        try:
            for proxy in proxies:  # touches what is allocated at the first use
                self.client.run("short", proxy.listen, "small", seconds=0.2, connections=8)
            time.sleep(2.0)
            before = {p.name: p.child.memory() for p in proxies}
            return self._hold(proxies, before, connections, quiet)
        finally:
            self.stop_proxies()

    def _hold(self, proxies, before, connections, quiet):
        top = min((self.fd_max - 500) // 2, (self.fd_max - 500) // max(1, len(proxies)))
        holders, out = [], {}
        try:
            for proxy in proxies:
                count = min(connections, top, proxy.kind.idle_max)
                argv = self.client.argv("idle", proxy.listen, "echo", connections=count,
                                        sources=min(250, count // 500 + 1), seconds=quiet + 60)
                holders.append((proxy, proc.Child(
                    argv, self.cores.load, os.path.join(self.folder, f"idle-{proxy.name}.log"),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)))
            opened = {p.name: self._ready(h) for p, h in holders}
            time.sleep(quiet)
            for proxy, _ in holders:
                out[proxy.name] = self._difference(proxy, before[proxy.name], opened[proxy.name])
        finally:
            for _, holder in holders:
                holder.stop()
        return out

    @staticmethod
    def _ready(holder):
        words = holder.process.stdout.readline().split()  # the client itself bounds this wait
        if len(words) != 3:
            raise proc.BenchError(f"load idle: {holder.last_words()}")
        return int(words[1]), int(words[2])

    @staticmethod
    def _difference(proxy, before, opened):
        now = proxy.child.memory()
        count = max(1, opened[0])
        return {"user_kib": (now["private_dirty"] - before["private_dirty"]) / count,
                "pss_kib": (now["pss"] - before["pss"]) / count,
                "private_dirty_0_kib": before["private_dirty"],
                "private_dirty_c_kib": now["private_dirty"],
                "rss_0_kib": before["rss"], "rss_c_kib": now["rss"],
                "connections": opened[0], "failed": opened[1]}
