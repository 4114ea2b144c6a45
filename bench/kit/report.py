# SPDX-License-Identifier: Apache-2.0
"""Figures from samples: medians, spread, ratios, verdicts; as text and as JSON."""

import json
import statistics
import time

from .proxies import PEERS

LIMIT = "forwarder"


def spread(samples):
    """{"median", "low", "high"} of the samples' values, and medians of what stands beside them."""
    values = sorted(sample["value"] for sample in samples)
    figures = {"median": statistics.median(values), "low": values[0], "high": values[-1]}
    for name in ("p50_us", "p99_us", "rate", "cpu_s"):
        beside = [sample[name] for sample in samples if name in sample]
        if beside:
            figures[name] = statistics.median(beside)
    return figures


def judge(row, results):
    """What a row says: {"proxies": {name: figures}, "best", "ratio", "over_limit", "verdict"}."""
    figures = {name: spread(samples) for name, samples in results.get(row.name, {}).items() if samples}
    said = {"title": row.title, "unit": row.unit, "target": row.target, "kind": row.kind, "proxies": figures, "verdict": "not measured"}
    peers = {name: each["median"] for name, each in figures.items() if name in PEERS}
    if peers:
        said["best"] = min(peers, key=peers.get)
    if "ferrule" not in figures:
        return said
    ours = figures["ferrule"]["median"]
    if peers:
        said["ratio"] = ours / peers[said["best"]]
    bare = results.get(row.limit, {}).get(LIMIT)
    if bare:
        said["over_limit"] = ours / spread(bare)["median"]
    said["verdict"] = _verdict(row, said, ours, results)
    return said


def _verdict(row, said, ours, results):
    if row.target is None:
        return "measured"
    if row.kind == "value":
        got = ours
    elif row.kind == "own":
        other = results.get(row.of, {}).get("ferrule")
        if not other:
            return "no base"
        got = said["own_ratio"] = ours / spread(other)["median"]
    elif "ratio" not in said:
        return "no peer"
    else:
        got = said["ratio"]
    return "met" if got <= row.target else "MISSED"


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def milliseconds(value_us):
    return f"{value_us / 1000:.2f}" if value_us < 100000 else f"{value_us / 1000:,.0f}"


def target_text(row):
    if row.target is None:
        return ""
    if row.kind == "value":
        return f"<= {row.target:g} {row.unit}"
    return f"<= {row.target:.2f}" + (f" of {row.of}" if row.kind == "own" else "")


def print_details(row, said):
    """One block: every proxy with its figures."""
    figures = said["proxies"]
    if not figures:
        return
    target = target_text(row)
    print(f"\n{row.title}" + (f"   (target {target})" if target else ""))
    best = figures[said["best"]]["median"] if "best" in said else None
    print(f"  {'proxy':10}{row.unit:>10}  {'low - high':>17}{'/best peer':>11}{'p50 ms':>9}{'p99 ms':>9}{'per second':>12}")
    for name, each in sorted(figures.items(), key=lambda item: (item[0] == LIMIT, item[1]["median"])):
        line = f"  {name:10}{number(each['median']):>10}  {number(each['low']) + ' - ' + number(each['high']):>17}"
        line += f"{each['median'] / best:>11.2f}" if best else f"{'':>11}"
        for key in ("p50_us", "p99_us"):
            line += f"{milliseconds(each[key]):>9}" if key in each else f"{'':>9}"
        line += f"{each['rate']:>12,.0f}" if "rate" in each else f"{each['cpu_s']:>20.2f} s of CPU" if "cpu_s" in each else ""
        print(line.rstrip())


def print_summary(rows):
    """rows: [(Row, what judge() said)]"""
    print(f"\n{'':58}{'ferrule':>9}{'best peer':>19}{'ratio':>7}{'/limit':>8}  target")
    for row, said in rows:
        ours = said["proxies"].get("ferrule")
        best = f"{said['best']} {number(said['proxies'][said['best']]['median'])}" if "best" in said else "-"
        cells = [f"{number(ours['median'])} {row.unit}" if ours else "-", best]
        line = f"{row.title[:56]:57}{cells[0]:>10}{cells[1]:>19}"
        for key in ("ratio", "over_limit"):
            line += f"{said[key]:>{7 if key == 'ratio' else 8}.2f}" if key in said else f"{'-':>{7 if key == 'ratio' else 8}}"
        print(f"{line}  {target_text(row)} {said['verdict']}".rstrip())


def print_left_out(left_out):
    for scenario, proxy, reason in left_out:
        print(f"left out: {proxy}{' in ' + scenario if scenario else ''}: {reason}")


def print_curve(curve, points):
    """points: [(x, figures)]"""
    print(f"\n{curve.title}\n  {curve.axis:>14}{'µs':>10}  {'low - high':>17}{'p50 ms':>9}{'p99 ms':>9}{'per second':>12}")
    for x, each in points:
        print(f"  {x:>14,}{number(each['median']):>10}  {number(each['low']) + ' - ' + number(each['high']):>17}"
              f"{milliseconds(each.get('p50_us', 0)):>9}{milliseconds(each.get('p99_us', 0)):>9}{each.get('rate', 0):>12,.0f}")


def write_json(path, about, rows, results, curves, left_out):
    document = {
        "version": 1, "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **about,
        "rows": {row.name: {**said, "samples": results.get(row.name, {})} for row, said in rows},
        "curves": {curve.name: {"title": curve.title, "axis": curve.axis, "points": [{"x": x, **each} for x, each in points]}
                   for curve, points in curves},
        "left_out": [{"scenario": scenario, "proxy": proxy, "reason": reason} for scenario, proxy, reason in left_out]}
    path.write_text(json.dumps(document, indent=1) + "\n")
