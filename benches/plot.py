#!/usr/bin/python3
"""Draws the growth curves from the load bench's JSON, and prints the figures of README.md's tables.

    cargo bench --bench load -- --full --json > target/full.json
    benches/plot.py target/full.json benches/plots

Needs matplotlib (apt-get install python3-matplotlib). Writes cpu.svg and udp.svg, processor time of an announce over the number
of peers by HTTP and by UDP, and memory.svg, bytes of memory a peer takes. A curve whose loads the JSON lacks is left as it is.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
# The same figures give the same file.
matplotlib.rcParams["svg.hashsalt"] = "announced"
from matplotlib import pyplot

CPU_LOADS = ["peers-10k", "keep-alive", "million-peers", "ten-million-peers"]
UDP_LOADS = ["udp-10k", "udp", "udp-million"]
MEMORY_LOADS = ["memory-10k", "memory-100k", "memory-million", "memory-ten-million"]


def curves(loads, names, value):
    """Of each server, its points: peers, and what `value` makes of its part. None when a load is missing."""
    if not all(name in loads for name in names):
        return None
    found = {}
    for load in (loads[name] for name in names):
        for server in load["servers"]:
            if server["missing"] is None and value(server) is not None:
                found.setdefault(server["name"], []).append((load["peers"], value(server)))
    return found


def draw(file, title, unit, machine, found):
    if found is None:
        return
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    for name, points in sorted(found.items()):
        axes.plot(*zip(*points), marker="o", label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("peers")
    axes.set_ylabel(unit)
    axes.set_title(f"{title}\n{machine}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def figure(number, digits):
    return "" if number is None else f"{number:.{digits}f}"


def print_rows(loads):
    for load in loads.values():
        parts = {server["name"]: server for server in load["servers"]}
        own, bare = parts["announced"], parts.get("bare server")
        rivals = [figure((parts.get(name) or {}).get("cpu_us_best"), 1) for name in ("opentracker", "aquatic_http", "aquatic_udp")]
        if bare and own["ratio_best"]:
            ratios = f"{own['ratio_best']:.2f}, {own['ratio_median']:.2f}"
            latencies = f"{own['p50_us']:.0f}, {own['p99_us']:.0f}, {own['p999_us']:.0f}"
            cells = [figure(bare["cpu_us_best"], 2), figure(own["cpu_us_best"], 2), ratios, figure(load["goal"], 2), *rivals, latencies]
            print("|", " | ".join([load["name"], *cells]), "|")
    for load in loads.values():
        if load["name"].startswith("memory"):
            cells = [figure(server["bytes_per_peer"], 1) or server["missing"] for server in load["servers"]]
            print("|", " | ".join([load["name"], f"{load['peers']} on {load['torrents']}", *cells]), "|")


def main(source, folder):
    report = json.loads(Path(source).read_text())
    loads = {load["name"]: load for load in report["loads"]}
    folder = Path(folder)
    cpu = curves(loads, CPU_LOADS, lambda server: server["cpu_us_best"])
    draw(folder / "cpu.svg", "Processor time of one announce, keep-alive, best round", "microseconds", report["machine"], cpu)
    udp = curves(loads, UDP_LOADS, lambda server: server["cpu_us_best"])
    draw(folder / "udp.svg", "Processor time of one announce over UDP, best round", "microseconds", report["machine"], udp)
    memory = curves(loads, MEMORY_LOADS, lambda server: server["bytes_per_peer"])
    print_rows(loads)
    draw(folder / "memory.svg", "Memory above idle, a tenth as many torrents as peers", "bytes a peer", report["machine"], memory)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
