"""Medians, tables and files of a run."""

import json
import os
import platform
import statistics
import subprocess
import time

from . import carriers, targets

# measure -> (title, [(metric, column, digits)], the metrics of the ratio columns)
TABLES = {
    "bulk1": ("TCP bulk by SNI, 1 connection",
              [("cpu_s_per_gb", "CPU s/GB", 3), ("gb_per_s", "GB/s", 2)]),
    "bulk8": ("TCP bulk by SNI, 8 connections",
              [("cpu_s_per_gb", "CPU s/GB", 3), ("gb_per_s", "GB/s", 2)]),
    "short": ("short connections: hello, one exchange, close; 32 at a time",
              [("cpu_us", "CPU µs each", 1), ("per_cpu_s", "per CPU s", 0), ("per_s", "per s", 0)]),
    "pingpong": ("1-byte ping-pong, 100 connections",
                 [("cpu_us", "CPU µs each", 2), ("p50_us", "p50 µs", 0), ("p99_us", "p99 µs", 0),
                  ("per_s", "per s", 0)]),
    "mixed": ("8 bulk connections beside 10 ping-pongs",
              [("p50_us", "p50 µs", 0), ("p99_us", "p99 µs", 0), ("bulk_gb_per_s", "bulk GB/s", 2),
               ("cpu_share", "CPU share", 2)]),
    "idle": ("idle connections, after 10 s of quiet",
             [("user_kib", "user KiB each", 2), ("pss_kib", "PSS KiB each", 2),
              ("private_dirty_0_kib", "KiB without", 0), ("connections", "connections", 0)]),
    "link-bulk": ("through the tunnel: bulk, 1 connection, both ends together",
                  [("cpu_s_per_gb", "CPU s/GB", 3), ("gb_per_s", "GB/s", 2)]),
    "carrier-requests": ("carriers: h2load, 80 requests under way, 1 kB each, passed through",
                         [("cpu_us", "CPU µs each", 1), ("per_s", "per s", 0)]),
    "carrier-bulk": ("carriers: h2load, 1 MB each, passed through",
                     [("cpu_s_per_gb", "CPU s/GB", 3), ("gb_per_s", "GB/s", 2)]),
    "carrier-tls-requests": ("carriers: h2load, HTTP/1.1, 1 kB each, TLS ends at the agent",
                             [("cpu_us", "CPU µs each", 1), ("per_s", "per s", 0)]),
    "carrier-tls-bulk": ("carriers: h2load, HTTP/1.1, 1 MB each, TLS ends at the agent",
                         [("cpu_s_per_gb", "CPU s/GB", 3), ("gb_per_s", "GB/s", 2)]),
    "fair": ("ping-pongs through one agent, alone and beside bulk through another",
             [("p99_ratio", "p99 beside ÷ alone", 2), ("p99_us", "p99 µs beside", 0),
              ("p99_alone_us", "p99 µs alone", 0), ("p50_us", "p50 µs beside", 0),
              ("p50_alone_us", "p50 µs alone", 0), ("bulk_gb_per_s", "bulk GB/s", 2),
              ("cpu_share", "relay's CPU share", 2)]),
    "link-streams": ("through the tunnel: open, one exchange, close; 16 at a time",
                     [("per_s", "per s", 0), ("cpu_us", "CPU µs each", 1)]),
}


def medians(samples):
    """measure -> name -> metric -> median over the rounds."""
    out = {}
    for measure, rows in samples.items():
        for name, rounds in rows.items():
            keys = {k for s in rounds for k in s}
            values = {k: [s[k] for s in rounds if s.get(k) is not None] for k in keys}
            out.setdefault(measure, {})[name] = {
                k: statistics.median(v) if v else None for k, v in values.items()}
    return out


def _number(value, digits):
    return "–" if value is None else f"{value:.{digits}f}"


def _spread(rounds, metric, digits):
    values = [s[metric] for s in rounds if s.get(metric) is not None]
    if len(values) < 2:
        return ""
    return f" ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + ["| " + " | ".join(r) + " |" for r in rows]


def _ratio(mine, theirs):
    return f"{mine / theirs:.2f}" if mine is not None and theirs else "–"


def measure_table(measure, samples, labels):
    """Medians with the spread of the rounds, and adit's ratio to each row by the first metrics."""
    title, columns = TABLES[measure]
    rows_of = samples[measure]
    mid = medians({measure: rows_of})[measure]
    lead = columns[:2] if measure in ("bulk1", "bulk8", "link-bulk", "mixed") else columns[:1]
    if measure == "pingpong":
        lead = [columns[0], columns[2]]
    between_carriers = measure in carriers.MEASURES
    if between_carriers:
        lead = columns
    ours = mid.get(carriers.BASE if between_carriers else targets.OURS)
    head = ["", *[c[1] for c in columns]]
    if ours:
        head += [f"{'QUIC' if between_carriers else 'adit'} ÷ this, {c[1]}" for c in lead]
    rows = []
    for name, rounds in rows_of.items():
        row = [labels.get(name, name)]
        row += [_number(mid[name].get(m), d) + _spread(rounds, m, d) for m, _, d in columns]
        if ours:
            row += [_ratio(ours.get(m), mid[name].get(m)) for m, _, _ in lead]
        failed = sum(s.get("failed", 0) for s in rounds)
        if failed:
            row[0] += f" [{failed} failed]"
        rows.append(row)
    return [f"### {measure}: {title}", "", *_markdown(head, rows), ""]


def target_table(mid):
    rows = []
    other = targets.evaluate(mid, targets.OTHER)
    for t, o in zip(targets.evaluate(mid), other):
        limit = f"{t['op'].replace('<=', '≤').replace('>=', '≥')} {t['limit']:g}"
        limit += f" × {t['peer']}" if t["peer"] else ""
        verdict = {True: "met", False: "**missed**", None: "not measured"}[t["met"]]
        rows.append([t["measure"], t["text"], limit, _number(t["reached"], 2), verdict,
                     _number(o["reached"], 2)])
    head = ["measure", "what", "target", "io_uring", "", "epoll"]
    return ["### Targets", "", *_markdown(head, rows), ""]


def surroundings(root, argv):
    """What a reader must know of the machine and the sources."""
    def git(*args):
        done = subprocess.run(["git", "-C", root, *args], capture_output=True, text=True,
                              check=False)
        return done.stdout.strip() if done.returncode == 0 else ""
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    system = ""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        pass
    commit = git("rev-parse", "--short=12", "HEAD") or "uncommitted"
    if commit != "uncommitted" and git("status", "--porcelain", "--", "src"):
        commit += "-changed"
    return {"date": time.strftime("%Y-%m-%d"), "time": time.strftime("%H:%M:%S%z"),
            "commit": commit, "cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "system": system, "command": " ".join(argv)}


def document(about, samples, labels, problems):
    lines = [f"# perf/run, {about['date']}, {about['commit']}", "",
             f"- machine: {about['cpu']}, {about['cores']} cores, kernel {about['kernel']}, "
             f"{about['system']}",
             f"- command: `{about['command']}`; {about['rounds']} rounds of {about['seconds']} s, "
             f"interleaved; figures are medians, smallest and largest round in brackets",
             f"- used by others: {about['noise_before'] * 100:.0f} % of the machine before, "
             f"{about['noise_after'] * 100:.0f} % after; stolen by the host "
             f"{about['stolen'] * 100:.1f} %"]
    lines += [f"- {name}: {version}" for name, version in about["versions"].items()]
    lines += [f"- not measured: {name}: {why.splitlines()[0]}" for name, why in problems.items()]
    lines.append("")
    mid = medians(samples)
    if any(targets.OURS in rows for rows in mid.values()):
        lines += target_table(mid)
    for measure in TABLES:
        if measure in samples:
            lines += measure_table(measure, samples, labels)
    return "\n".join(lines)


def save(folder, about, samples, labels, problems, text, suffix):
    """Writes the two files; returns the path of the markdown one. Earlier results stay."""
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, f"{about['date']}-{about['commit']}{suffix}")
    path, n = stem, 2
    while os.path.exists(path + ".json"):
        path, n = f"{stem}.{n}", n + 1
    mid = medians(samples)
    data = {"about": about, "labels": labels, "problems": problems, "medians": mid,
            "targets": targets.evaluate(mid), "targets_epoll": targets.evaluate(mid, targets.OTHER),
            "samples": samples}
    with open(path + ".json", "w", encoding="utf-8") as f:
        json.dump(data, f, indent=1, ensure_ascii=False)
        f.write("\n")
    with open(path + ".md", "w", encoding="utf-8") as f:
        f.write(text + "\n")
    return path + ".md"
