"""Draw the pictures of the concepts: python docs/images/draw.py

They are put into the pages as they are, so their colours are those of the page, light or dark.
"""

from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
TEXT = 'var(--color-foreground-primary, #222)'
SOFT = 'var(--color-foreground-secondary, #666)'
LINE = 'var(--color-foreground-muted, #777)'
PAGE = 'var(--color-background-primary, #fff)'
PLAIN = 'var(--color-background-secondary, #f4f4f6)'
IMAGE, WORDS, USERS, ITEMS = '#3b82c4', '#b7791f', '#8b5fbf', '#2f9e77'


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    lines: str,
    color: str = '',
    dash: str = 'none',
) -> str:
    """Return a box with lines of words, the first one bold."""
    fill = f'fill:{color};fill-opacity:0.14' if color else f'fill:{PLAIN}'
    out = (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" '
        f'style="{fill};stroke:{color or LINE};stroke-width:1.5;stroke-dasharray:{dash}"/>'
    )
    rows = lines.split('\n')
    top = y + height / 2 - 9 * (len(rows) - 1) + 5
    for number, row in enumerate(rows):
        size, weight = (14, 600) if number == 0 else (12.5, 400)
        out += words(x + width / 2, top + 18 * number, row, size=size, weight=weight)
    return out


def words(
    x: float,
    y: float,
    line: str,
    *,
    size: float = 12.5,
    weight: int = 400,
    anchor: str = 'middle',
    color: str = TEXT,
) -> str:
    """Return a line of words."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" style="fill:{color}">{escape(line)}</text>'
    )


def arrow(
    x1: float, y1: float, x2: float, y2: float, *, color: str = LINE, width: float = 1.6
) -> str:
    """Return an arrow."""
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" style="stroke:{color}" '
        f'stroke-width="{width}" marker-end="url(#head)"/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, color: str = LINE, width: float = 1.6) -> str:
    """Return a line."""
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" style="stroke:{color}" '
        f'stroke-width="{width}"/>'
    )


def dot(x: float, y: float, color: str, name: str = '', radius: float = 14) -> str:
    """Return a node, with its name in it."""
    circle = f'<circle cx="{x}" cy="{y}" r="{radius}"'
    return (
        f'{circle} style="fill:{PAGE}"/>'
        f'{circle} style="fill:{color};fill-opacity:0.25;stroke:{color};stroke-width:1.6"/>'
    ) + (words(x, y + 4.5, name, weight=600) if name else '')


def pipeline() -> str:
    parts = [
        box(10, 20, 130, 54, 'Pictures\nphotos of items', IMAGE),
        box(10, 94, 130, 54, 'Texts\ntitles, descriptions', WORDS),
        box(10, 188, 130, 54, 'Interactions\nclicks, orders', USERS),
        box(185, 57, 120, 54, 'Encoders\nvectors per item'),
        box(350, 47, 130, 74, 'Item graphs\nsimilar content,\nshared users'),
        box(350, 188, 130, 54, 'Train part\nthe rest is for tests'),
        box(525, 120, 100, 60, 'Model\nlearns'),
        box(670, 45, 140, 54, 'Embeddings\nusers and items', ITEMS),
        box(670, 120, 140, 60, 'Ranking\ninner products', ITEMS),
        box(662, 201, 156, 54, 'Recommendations\nin your own ids', ITEMS),
        arrow(140, 47, 183, 75),
        arrow(140, 121, 183, 95),
        arrow(140, 215, 348, 215),
        arrow(305, 84, 348, 84),
        arrow(415, 188, 415, 123),
        arrow(480, 84, 532, 117),
        arrow(480, 215, 532, 183),
        arrow(625, 140, 668, 86),
        arrow(740, 99, 740, 118),
        arrow(740, 180, 740, 199),
    ]
    return picture(825, 265, 'From pictures, texts and interactions to recommendations', parts)


def fusion() -> str:
    parts = [words(205, 20, 'Early fusion: one graph', size=15, weight=700)]
    parts += [
        box(10, 45, 90, 44, 'Picture', IMAGE),
        box(10, 125, 90, 44, 'Text', WORDS),
        box(145, 85, 110, 44, 'Fused vector', ITEMS),
        box(300, 85, 100, 44, 'Item graph\nk nearest', ITEMS),
        arrow(100, 67, 143, 98),
        arrow(100, 147, 143, 116),
        arrow(255, 107, 298, 107),
        line(425, 10, 425, 195),
        words(635, 20, 'Late fusion: a graph of each modality', size=15, weight=700),
        box(450, 45, 90, 44, 'Picture', IMAGE),
        box(450, 125, 90, 44, 'Text', WORDS),
        box(580, 45, 105, 44, 'Item graph\nof pictures', IMAGE),
        box(580, 125, 105, 44, 'Item graph\nof texts', WORDS),
        box(730, 85, 105, 44, 'Attention\nmerges them', ITEMS),
        arrow(540, 67, 578, 67),
        arrow(540, 147, 578, 147),
        arrow(685, 67, 728, 98),
        arrow(685, 147, 728, 116),
    ]
    return picture(845, 200, 'Early fusion joins vectors, late fusion joins graphs', parts)


def cold_item() -> str:
    parts = [
        words(190, 20, 'Warm items: both sides are known', size=15, weight=700),
        box(15, 40, 120, 46, 'Content\nof item A', IMAGE),
        box(15, 100, 120, 46, 'Content\nof item B', IMAGE),
        box(245, 40, 120, 46, 'Embedding\nof item A', ITEMS),
        box(245, 100, 120, 46, 'Embedding\nof item B', ITEMS),
        arrow(135, 63, 243, 63),
        arrow(135, 123, 243, 123),
        words(190, 172, 'A ridge regression learns this arrow.', color=SOFT),
        line(400, 10, 400, 180),
        words(610, 20, 'A cold item: the arrow predicts', size=15, weight=700),
        box(425, 70, 120, 46, 'Content\nof the new item', IMAGE),
        box(655, 70, 150, 46, 'Embedding\npredicted', ITEMS, dash='5 4'),
        arrow(545, 93, 653, 93),
        words(610, 142, 'Nobody has interacted with it,', color=SOFT),
        words(610, 160, 'and it is ranked for every user.', color=SOFT),
    ]
    return picture(820, 185, 'How a cold item gets its embedding', parts)


def attention() -> str:
    parts = [
        words(110, 20, 'Similar content', size=14, weight=700),
        words(340, 20, 'Shared users', size=14, weight=700),
        words(650, 20, 'Merged', size=14, weight=700),
    ]
    ends = [(-70, -10), (0, -55), (70, -10), (0, 55)]
    names = 'BCDE'
    graphs = (
        (110, IMAGE, (3.0, 2.2, 0, 1.2)),
        (340, USERS, (0, 1.6, 3.0, 0)),
        (650, ITEMS, (2.1, 2.0, 0.9, 0.8)),
    )
    for x, color, widths in graphs:
        y = 110
        for (dx, dy), name, width in zip(ends, names, widths, strict=True):
            if width:
                parts.append(line(x + dx, y + dy, x, y, color, width * 1.6))
            parts.append(dot(x + dx, y + dy, LINE, name))
        parts.append(dot(x, y, color, 'A', 17))
    parts += [
        words(225, 116, '+', size=22, weight=700),
        arrow(430, 110, 550, 110),
        words(490, 98, 'α = .7 and .3', weight=600),
        words(490, 134, 'learned, one pair of', color=SOFT),
        words(490, 151, 'weights per graph,', color=SOFT),
        words(490, 168, 'per item or per edge', color=SOFT),
        words(650, 200, 'A receives from its neighbours', color=SOFT),
    ]
    return picture(780, 212, 'Attention weighs the edges of two item graphs', parts)


def index_search() -> str:
    cells = [(95, 60), (215, 50), (160, 135), (285, 125)]
    colors = (IMAGE, WORDS, ITEMS, USERS)
    near = ((-26, -12), (-8, 18), (14, -20), (24, 8), (-2, -2))
    parts = [words(190, 16, '1. Cells of similar items', size=14, weight=700)]
    for (x, y), color in zip(cells, colors, strict=True):
        parts.append(
            f'<circle cx="{x}" cy="{y + 18}" r="44" fill="{color}" fill-opacity="0.10" '
            f'stroke="{color}" stroke-dasharray="4 4"/>'
        )
        parts += [dot(x + dx, y + 18 + dy, color, radius=5) for dx, dy in near]
    parts += [
        arrow(345, 105, 395, 105),
        words(500, 16, '2. Whole cells compared', size=14, weight=700),
        box(415, 45, 70, 105, 'Items\nof a cell', ITEMS),
        words(503, 102, '×', size=20, weight=700),
        box(520, 45, 82, 105, 'All that\nprobe it'),
        words(505, 175, 'one product, low precision', color=SOFT),
        arrow(612, 105, 655, 105),
        words(745, 16, '3. Exact scores', size=14, weight=700),
        box(670, 45, 150, 46, 'Best candidates\nof each item', ITEMS),
        box(670, 108, 150, 46, 'Full features\nfloat32', ITEMS),
        arrow(745, 91, 745, 106),
        words(740, 175, 'recall: measured on a sample', color=SOFT),
    ]
    return picture(840, 218, 'How the index searches', parts)


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    """Return the file of a picture."""
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" style="fill:{LINE}"/>'
        '</marker></defs>'
    )
    return '\n'.join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'font-family="system-ui, sans-serif" aria-label="{escape(title)}">',
            f'<title>{escape(title)}</title>',
            head,
            *parts,
            '</svg>\n',
        ]
    )


PICTURES = {
    'pipeline': pipeline,
    'fusion': fusion,
    'cold_item': cold_item,
    'attention': attention,
    'index_search': index_search,
}


def main() -> None:
    for name, draw in PICTURES.items():
        (FOLDER / f'{name}.svg').write_text(draw(), encoding='utf-8')


if __name__ == '__main__':
    main()
