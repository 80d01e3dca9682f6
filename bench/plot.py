"""Draws bench/results/NAME.csv (made by quality.py) as NAME.svg: BLEU against speed relative to the verifier
alone.

One line per rule through its alphas, one dot per setting, the verifier alone at 1. Standard library only.
usage: plot.py [NAME]   (default quality_t1)
"""
import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from xml.sax.saxutils import escape

RESULTS = Path(__file__).resolve().parent / "results"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 64, 190, 44, 56
COLOURS = ["#0b6e99", "#d1495b", "#3a7d44", "#8e5ea2", "#c77d0a", "#4d5a66", "#00897b", "#7f5539"]
INK, GRID = "#30363d", "#d8dee4"


def read_points(path):
    """{setting: (speed-up, BLEU)}: median over seeds of the decode ratio, mean BLEU."""
    by_setting = defaultdict(list)
    with open(path, newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            by_setting[row["setting"]].append((float(row["ratio_decode"]), float(row["bleu"])))
    return {setting: (1.0 if setting == "verifier" else statistics.median(x for x, _ in rounds),
                      statistics.fmean(y for _, y in rounds))
            for setting, rounds in by_setting.items()}


def group(points):
    """Lines of the picture: (rule, gamma) to its [(alpha, speed-up, BLEU)] in order of alpha."""
    lines = defaultdict(list)
    for setting, (x, y) in points.items():
        rule, alpha, gamma, *flags = (setting.split(":") + ["", ""])[:max(3, setting.count(":") + 1)]
        name = rule + (f", γ = {gamma}" if gamma else "") + "".join(" " + f for f in flags if f)
        lines[name].append((float(alpha) if alpha else 0.0, x, y, alpha))
    return {name: sorted(dots) for name, dots in lines.items()}


def ticks(low, high, step):
    n = int(low / step)
    while n * step < low - 1e-9:
        n += 1
    while n * step <= high + 1e-9:
        yield n * step
        n += 1


def text(x, y, s, anchor="middle", size=12, colour=INK):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">'
            f"{escape(s)}</text>")


def draw(lines, title):
    xs = [d[1] for dots in lines.values() for d in dots]
    ys = [d[2] for dots in lines.values() for d in dots]
    x0, x1, y0, y1 = min(xs) - 0.08, max(xs) + 0.12, min(ys) - 0.6, max(ys) + 0.8

    def px(x):
        return LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def py(y):
        return HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    out = ['<svg xmlns="http://www.w3.org/2000/svg" '
           f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', text(LEFT, 24, title, "start", 14)]
    for x in ticks(x0, x1, 0.2):
        out.append(f'<path d="M{px(x):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GRID}"/>')
        out.append(text(px(x), HEIGHT - BOTTOM + 18, f"{x:.1f}×"))
    for y in ticks(y0, y1, 2 if y1 - y0 > 6 else 1):
        out.append(f'<path d="M{LEFT} {py(y):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        out.append(text(LEFT - 8, py(y) + 4, f"{y:.0f}", "end"))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14,
                    "decode tokens per second (prompt excluded), verifier alone = 1"))
    out.append(text(LEFT - 8, TOP - 8, "BLEU", "end"))
    own = lines["verifier"][0][2]
    out.append(f'<path d="M{LEFT} {py(own):.1f}H{WIDTH - RIGHT}" stroke="{INK}" stroke-dasharray="5 4"/>')
    out.append(text(LEFT + 6, py(own) - 6, "the verifier's own BLEU", "start", 11))
    for i, (name, dots) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = "L".join(f"{px(x):.1f} {py(y):.1f}" for _, x, y, _ in dots)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for _, x, y, alpha in dots:
            out.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="4" fill="{colour}"/>')
            if alpha:
                out.append(text(px(x), py(y) - 8, alpha, size=10, colour=colour))
        y = TOP + 14 + 20 * i
        out.append(f'<circle cx="{WIDTH - RIGHT + 20}" cy="{y - 4}" r="5" fill="{colour}"/>')
        out.append(text(WIDTH - RIGHT + 32, y, name, "start", 12))
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "quality_t1"
    points = read_points(RESULTS / f"{name}.csv")
    target = RESULTS / f"{name}.svg"
    target.write_text(draw(group(points),
                           "Demo pair: quality and speed by rule; the numbers at the dots are α"),
                      encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
