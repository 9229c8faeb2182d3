"""The pieces of a report page: one HTML file that needs no network, no scripts and prints well.

Every function takes plain text and gives HTML; what comes from outside is escaped here and nowhere else.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { --ink: #1c2329; --soft: #59646e; --line: #d9dee3; --wash: #f5f7f9; --accent: #00639c; --warn: #9a4a00; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2.5rem 1.5rem 4rem; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.5rem 0 .5rem; }
p, li { max-width: 46rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.answer { font-size: 1.15rem; max-width: 52rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .9rem; margin: 1.4rem 0; }
.card { border: 1px solid var(--line); border-top: 3px solid var(--accent); border-radius: 4px; padding: .8rem 1rem; }
.card .name { color: var(--soft); font-size: .85rem; }
.card .value { font-size: 1.7rem; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card .value small { font-size: 1rem; font-weight: 400; }
.card .more { color: var(--soft); font-size: .85rem; }
.note { border-left: 4px solid var(--warn); background: #fdf6ef; padding: .6rem 1rem; max-width: 52rem; }
.note code { display: block; margin-top: .25rem; font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; background: var(--wash); vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; padding-left: .4rem; }
.words2 :is(th, td):nth-child(2), .words3 :is(th, td):nth-child(-n + 3) { text-align: left; }
td small { display: block; color: var(--soft); font-size: .88em; line-height: 1.3; }
td.better { background: #ecf5f0; }
td.worse { background: #fdf1e7; }
.better > span { font-weight: 700; }
.worse > span { text-decoration: underline; text-underline-offset: .15em; }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
table.facts td:first-child { color: var(--soft); white-space: nowrap; }
figure { margin: 0; }
figure + figure, .scroll + figure, figure + .scroll { margin-top: 1.6rem; }
figcaption { max-width: 62rem; margin-top: .3rem; }
.pictures figure + figure { margin-top: 0; }
figure img { display: block; width: 100%; height: auto; }
figure.plot img { max-width: 62rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(27rem, 1fr)); gap: 1rem; }
.pictures figure { border: 1px solid var(--line); break-inside: avoid; align-self: start; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0; max-width: 46rem; }
@media screen and (max-width: 40rem) {
  body { padding: 1.2rem .8rem 2rem; }
  .pictures { grid-template-columns: 1fr; }
  figure.plot { overflow-x: auto; }
  figure.plot > img { min-width: 44rem; }
  .pictures figure.plot > img { min-width: 0; }
  th, td { padding: .25rem .3rem; font-size: .75rem; }
  td small { white-space: normal; }
  th:first-child, td:first-child, table.facts td:first-child { white-space: normal; }
}
@media print {
  body { padding: 0; max-width: none; font-size: 10.5pt; }
  .pictures { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .2rem .35rem; }
  h2, tr, .card, .note, figure { break-inside: avoid; break-after: auto; }
  h2, h3, dt { break-after: avoid; }
}
</style>
</head>
<body>
$body
</body>
</html>
""")


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document around HTML parts."""
    return _PAGE.substitute(title=escape(title), body="\n".join(parts))


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is "soft", "answer" or "note"."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def note(text: str, command: str = "") -> str:
    """A warning, and below it the command line that helps."""
    below = f"<code>{escape(command)}</code>" if command else ""
    return f'<p class="note">{escape(text)}{below}</p>'


def cards(entries: Iterable[tuple[str, str, str, str]]) -> str:
    """A row of figures; each entry is name, value, unit or spread, and a remark."""
    made = (
        f'<div class="card"><div class="name">{escape(name)}</div><div class="value">{escape(value)} '
        f'<small>{escape(unit)}</small></div><div class="more">{escape(more)}</div></div>'
        for name, value, unit, more in entries
    )
    return f'<div class="cards">{"".join(made)}</div>'


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, smaller lines below it, what appears when it is pointed at, "better" or "worse"."""

    text: str
    below: Sequence[str] = ()
    hover: str = ""
    kind: str = ""


def table(header: Sequence[str], rows: Iterable[Sequence[str | Cell]], words: int = 1) -> str:
    """A table of text; the first columns, `words` of them, 1 to 3, are on the left, the numbers on the right."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    parts = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="scroll"><table class="words{words}">{parts}</table></div>'


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    named = {"class": cell.kind, "title": cell.hover}
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in named.items() if value)
    below = "".join(f"<small>{escape(line)}</small>" for line in cell.below)
    return f"<td{attributes}><span>{escape(cell.text)}</span>{below}</td>"


def facts(entries: Mapping[str, str]) -> str:
    """A table of names and what they are."""
    rows = "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in entries.items())
    return f'<table class="facts"><tbody>\n{rows}\n</tbody></table>'


def definitions(entries: Mapping[str, str]) -> str:
    """A list of terms and what they mean."""
    return "<dl>" + "\n".join(f"<dt>{escape(t)}</dt><dd>{escape(d)}</dd>" for t, d in entries.items()) + "</dl>"


def figure(image: bytes, kind: str, description: str, caption: str = "", width_inches: float | None = None) -> str:
    """An embedded picture; `kind` is "png" or "jpeg", `description` is for those who cannot see it.

    One that was drawn for a width in print is shown no wider than keeps its words of the page's size.
    """
    data = base64.b64encode(image).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    width = "" if width_inches is None else f' style="max-width: min(62rem, {6.5 * width_inches:.1f}rem)"'
    source = f'src="data:image/{kind};base64,{data}" alt="{escape(description)}"'
    return f'<figure class="plot"><img {source}{width}>{below}</figure>'


def pictures(figures: Iterable[str]) -> str:
    """Figures side by side."""
    return f'<div class="pictures">{"".join(figures)}</div>'
