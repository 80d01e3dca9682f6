"""A report as one HTML file: pictures inside it as SVG, no script, nothing fetched."""
from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Sequence

STYLE = """body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;
margin:2rem auto;max-width:72rem;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p{max-width:50rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid #d8dee4;text-align:left;white-space:nowrap}
th{background:#f6f8fa;position:sticky;top:0}svg{max-width:100%;height:auto}
@media (prefers-color-scheme:dark){body{background:#fff}}"""


def picture(title: str, stem: Path) -> str:
    svg = stem.with_suffix(".svg").read_text(encoding="utf-8")
    return f"<h2>{escape(title)}</h2>\n{svg[svg.index('<svg'):]}"


def table(title: str, note: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(c)}</th>" for c in header)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return (f"<h2>{escape(title)}</h2>\n<p>{escape(note)}</p>\n<div "
            f"class=scroll><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>")


def write_page(path: Path, head: Sequence[str], pictures: Sequence[tuple[str, Path]],
               tables: Sequence[tuple[str, str, list[str], list[list[str]]]]) -> None:
    parts = ["<!doctype html>", "<html lang=en><head><meta charset=utf-8>",
             "<meta name=viewport content='width=device-width'>", "<title>weir: cost and quality</title>",
             f"<style>{STYLE}</style></head><body>", "<h1>Cost and quality</h1>",
             *[f"<p>{escape(line)}</p>" for line in head], *[picture(*p) for p in pictures],
             *[table(*t) for t in tables], "</body></html>"]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
