# SPDX-License-Identifier: Apache-2.0
"""An SVG chart of a run: a group of bars for each row of the table, a line for each curve."""

import math
from html import escape

from .report import number

COLOURS = {"ferrule": "#c2410c", "nginx": "#15803d", "haproxy": "#1d4ed8", "h2o": "#7e22ce", "caddy": "#0e7490", "forwarder": "#9ca3af"}
OTHER = "#525252"
WIDTH, LEFT, RIGHT, BAR, GAP = 960, 330, 110, 14, 16
PLOT_W, PLOT_H = 440, 200
OVER = 3.0  # times the best peer: longer bars are cut


class Svg:
    def __init__(self):
        self.parts, self.y = [], 10

    def text(self, x, y, text, anchor="start", size=12, colour="#111"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>')

    def rect(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" fill="{colour}"/>')

    def line(self, points, colour="#999", width=1):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def finish(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.y + 10:.0f}" font-family="sans-serif">\n'
                f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def _bars(svg, row, said):
    """Bars as long as the proxy's figure over the best peer's (or ferrule's own, without one)."""
    figures = said["proxies"]
    base = figures[said["best"]]["median"] if "best" in said else max(each["median"] for each in figures.values())
    scale = (WIDTH - LEFT - RIGHT) / OVER
    svg.text(10, svg.y + 13, row.title[:54], size=12)
    svg.text(10, svg.y + 28, said["verdict"] if row.target else "", size=11, colour="#666")
    top = svg.y
    for name, each in figures.items():
        length = each["median"] / base if base else 0
        svg.rect(LEFT, svg.y, min(length, OVER) * scale, BAR - 2, COLOURS.get(name, OTHER))
        svg.text(LEFT - 6, svg.y + 10, name, "end", 10, "#444")
        svg.text(LEFT + min(length, OVER) * scale + 5, svg.y + 10, f"{number(each['median'])} {row.unit}", size=10, colour="#444")
        svg.y += BAR
    svg.y = max(svg.y, top + 30)
    if row.target and row.kind == "peer" and "best" in said:
        x = LEFT + row.target * scale
        svg.line([(x, top - 3), (x, svg.y + 1)], "#000")
    svg.y += GAP


def _curve(svg, curve, points):
    """Microseconds by x, both logarithmic."""
    svg.text(10, svg.y + 14, curve.title, size=13)
    svg.y += 24
    xs = [math.log10(x) for x, _ in points]
    ys = [math.log10(max(each["median"], 0.001)) for _, each in points]
    low, high = math.floor(min(ys)), max(math.ceil(max(ys)), math.floor(min(ys)) + 1)
    width = max(max(xs) - min(xs), 0.001)

    def place(x, y):
        return 80 + (x - min(xs)) / width * PLOT_W, svg.y + PLOT_H - (y - low) / (high - low) * PLOT_H

    for power in range(low, high + 1):
        _, y = place(min(xs), power)
        svg.line([(80, y), (80 + PLOT_W, y)], "#ddd")
        svg.text(74, y + 4, f"{10 ** power:g} µs", "end", 10, "#444")
    svg.line([place(x, y) for x, y in zip(xs, ys)], COLOURS["ferrule"], 2)
    for (value, each), x, y in zip(points, xs, ys):
        px, py = place(x, y)
        svg.rect(px - 3, py - 3, 6, 6, COLOURS["ferrule"])
        svg.text(px, py - 8, number(each["median"]), "middle", 10)
        svg.text(px, svg.y + PLOT_H + 14, f"{value:,}", "middle", 10, "#444")
    svg.text(80 + PLOT_W + 12, svg.y + PLOT_H + 14, curve.axis, size=10, colour="#444")
    svg.y += PLOT_H + 40


def write(path, rows, curves):
    """rows: [(Row, what judge() said)]; curves: [(Curve, points)]"""
    svg = Svg()
    svg.text(10, svg.y + 12, "Each row over its best peer; the black line is the target", size=13)
    svg.y += 30
    for row, said in rows:
        if said["proxies"]:
            _bars(svg, row, said)
    for curve, points in curves:
        if points:
            _curve(svg, curve, points)
    path.write_text(svg.finish())
