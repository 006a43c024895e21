"""The flow of mail over hosts as a picture, drawn without Graphviz: hosts in layers from left to right.

The layout is Sugiyama's, as far as mail needs it: a host stands right of all that hand mail to it, and what is handed
back runs beside what goes forward; edges over several layers pass through empty places of their own, and each layer is
ordered so that few edges cross (barycentres, a few sweeps).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from mailtrace.exporters.html_markup import Markup, join, tag
from mailtrace.exporters.terminal import columns, shorten
from mailtrace.graph import Edge, MailGraph
from mailtrace.remarks import grouped
from mailtrace.report import visible
from mailtrace.wording import count, outcome

LETTER = 7.25
"""Width of a letter of the host names, in pixels (12 px monospace)."""
LONGEST = 26
"""Letters of a host's name before its middle is left out."""
HEIGHT, ROW, GAP, EDGE = 34, 50, 64, 8
"""Of a host, from one to the next in a layer, between layers, around all."""
ASIDE = 9
"""Pixels between two edges that connect the same hosts."""
SWEEPS = 6
"""More change little."""
TOLD = 6
"""An edge names so many queue IDs."""

ARROW = tag(
    "svg",
    tag(
        "marker",
        tag("path", d="M0 0 7 3.5 0 7z"),
        id="arrow",
        viewBox="0 0 7 7",
        refX="6.5",
        refY="3.5",
        markerWidth="7",
        markerHeight="7",
        orient="auto",
    ),
    class_="defs",
    aria_hidden="true",
)
"""What the edges of every graph of a page end with; a page holds it once."""

Ends = Mapping[str, Sequence[tuple[str, int]]]
"""Host → how many recipients came out how there."""


class _Node:
    """A host, or (unnamed) the empty place by which an edge passes a layer."""

    __slots__ = ("before", "layer", "name", "next", "width", "x", "y")

    def __init__(self, name: str, layer: int, width: float) -> None:
        self.name, self.layer, self.width = name, layer, width
        self.x = self.y = 0.0
        self.before: list[_Node] = []
        self.next: list[_Node] = []


class Join(NamedTuple):
    """All edges from one host to another that look alike."""

    start: str
    end: str
    style: str
    edges: list[Edge]


def picture(graph: MailGraph, links: Mapping[str, str], ends: Ends) -> Markup:
    """The graph as SVG. `links` are anchors in the page by host, `ends` what ended where."""
    layers, nodes, ways = _layout(graph, ends)
    width = max((node.x + node.width for layer in layers for node in layer), default=0) + EDGE
    height = max((node.y + HEIGHT for layer in layers for node in layer), default=0) + EDGE
    edges = [_edge(each, nodes, ways, aside) for each, aside in _beside(_joined(graph))]
    hosts = [_host(nodes[name], style, links.get(name), ends.get(name, ())) for name, style in graph.hosts.items()]
    said = f"{count(len(graph.hosts), 'host')} and the mail between them; the waterfall tells the same in words"
    return tag(
        "svg",
        edges,
        hosts,
        class_="graph",
        role="img",
        aria_label=said,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
    )


def _joined(graph: MailGraph) -> list[Join]:
    out: dict[tuple[str, str, str], Join] = {}
    for edge in graph.edges:
        key = (edge.from_host, edge.to_host, edge.style)
        out.setdefault(key, Join(*key, [])).edges.append(edge)
    return list(out.values())


def _beside(joins: Sequence[Join]) -> list[tuple[Join, float]]:
    """Edges, and how far each stands aside for others between the same hosts."""
    pairs = grouped(joins, lambda each: frozenset((each.start, each.end)))
    return [(each, (i - (len(same) - 1) / 2) * ASIDE) for same in pairs.values() for i, each in enumerate(same)]


# ---------------------------------------------------------------------------------------------- where things stand


def _layout(
    graph: MailGraph, ends: Ends
) -> tuple[list[list[_Node]], dict[str, _Node], dict[tuple[str, str], list[_Node]]]:
    """Layers of nodes, the hosts by name, and what lies between two of them, from the left one on."""
    depth = _depths(graph)
    nodes = {name: _Node(name, depth[name], _width(name, ends.get(name, ()))) for name in graph.hosts}
    layers: list[list[_Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes.values():
        layers[node.layer].append(node)
    ways: dict[tuple[str, str], list[_Node]] = {}
    for edge in graph.edges:
        pair = _rightward(edge.from_host, edge.to_host, depth)
        if pair in ways or pair[0] == pair[1]:
            continue
        between = [_Node("", layer, 0.0) for layer in range(depth[pair[0]] + 1, depth[pair[1]])]
        for node in between:
            layers[node.layer].append(node)
        ways[pair] = [nodes[pair[0]], *between, nodes[pair[1]]]
        for one, other in pairwise(ways[pair]):
            one.next.append(other)
            other.before.append(one)
    _order(layers)
    _place(layers)
    return layers, nodes, ways


def _rightward(one: str, other: str, depth: Mapping[str, int]) -> tuple[str, str]:
    """Two hosts, the left one first."""
    return (one, other) if depth[one] <= depth[other] else (other, one)


def _depths(graph: MailGraph) -> dict[str, int]:
    """How many hosts lie before each on its longest way, without edges that lead back to where a way came from."""
    after: dict[str, list[str]] = {name: [] for name in graph.hosts}
    for edge in graph.edges:
        if edge.to_host not in after[edge.from_host] and edge.to_host != edge.from_host:
            after[edge.from_host].append(edge.to_host)
    state: dict[str, int] = {}  # 1 while on the way, 2 when done
    order: list[str] = []
    forward: dict[str, list[str]] = {name: [] for name in after}
    for root, nexts in after.items():
        stack = [(root, iter(nexts))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            name, rest = stack[-1]
            for other in rest:
                if state.get(other) == 1:
                    continue
                forward[name].append(other)
                if other not in state:
                    state[other] = 1
                    stack.append((other, iter(after[other])))
                    break
            else:
                state[name] = 2
                order.append(name)
                stack.pop()
    depth = dict.fromkeys(after, 0)
    for name in reversed(order):
        for other in forward[name]:
            depth[other] = max(depth[other], depth[name] + 1)
    return depth


def _order(layers: list[list[_Node]]) -> None:
    """Put each node near the middle of its neighbours, forth and back."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            for place, node in enumerate(layer):
                node.y = place
        for layer in layers[1:] if down else layers[-2::-1]:
            near = {id(node): _middle(node.before if down else node.next, node.y) for node in layer}
            layer.sort(key=lambda node: near[id(node)])
            for place, node in enumerate(layer):
                node.y = place


def _middle(nodes: Sequence[_Node], default: float) -> float:
    return sum(node.y for node in nodes) / len(nodes) if nodes else default


def _place(layers: list[list[_Node]]) -> None:
    """Pixels: columns as wide as their widest host; in a column each node as near to its neighbours as order lets."""
    x = float(EDGE)
    for layer in layers:
        for node in layer:
            node.x = x
        x += max(node.width for node in layer) + GAP
    for layer in layers:
        for place, node in enumerate(layer):
            node.y = float(place * ROW)
    for sweep in range(4):
        for layer in layers[1:] if sweep % 2 == 0 else layers[-2::-1]:
            _settle(layer, [_middle(node.before if sweep % 2 == 0 else node.next, node.y) for node in layer])
    top = min((node.y for layer in layers for node in layer), default=0)
    for layer in layers:
        for node in layer:
            node.y += EDGE + 22 - top  # above is room for loops


def _settle(layer: Sequence[_Node], wanted: Sequence[float]) -> None:
    """The places nearest to those wanted, a row apart: runs that would overlap share the mean of what they want."""
    runs: list[tuple[float, int]] = []  # sum of (wanted - offset), how many
    for place in wanted:
        runs.append((place, 1))
        while len(runs) > 1 and runs[-2][0] / runs[-2][1] + runs[-2][1] * ROW > runs[-1][0] / runs[-1][1]:
            (total, many), (more, number) = runs[-2], runs[-1]
            runs[-2:] = [(total + more - number * many * ROW, many + number)]
    at = 0
    for total, many in runs:
        for i in range(many):
            layer[at].y = total / many + i * ROW
            at += 1


# ---------------------------------------------------------------------------------------------- how they look


def _width(name: str, ends: Sequence[tuple[str, int]]) -> float:
    return max(columns(shorten(visible(name), LONGEST)), len(_ending(ends))) * LETTER + 20


def _ending(ends: Sequence[tuple[str, int]]) -> str:
    return "  ".join(f"{outcome(name).mark} {number:,}" for name, number in ends)


def _host(node: _Node, style: str, anchor: str | None, ends: Sequence[tuple[str, int]]) -> Markup:
    name = visible(node.name)
    middle = node.x + node.width / 2
    shape = tag("rect", x=round(node.x), y=round(node.y), width=round(node.width), height=HEIGHT)
    label = tag("text", shorten(name, LONGEST), x=round(middle), y=round(node.y) + (15 if ends else 21))
    signs = []
    for each, number in ends:
        shown = outcome(each)
        signs.append(tag("tspan", f"{shown.mark} {number:,}", class_=shown.tone))
        signs.append(tag("tspan", "  "))
    below = tag("text", signs[:-1], x=round(middle), y=round(node.y) + 28, class_="ends") if ends else None
    said = [f"{number:,} {each.replace('_', ' ')}" for each, number in ends]
    words = [name, *(["no log read"] if style else []), *said]
    about = tag("title", ", ".join(words)) if len(words) > 1 or len(name) > LONGEST else None
    drawn = join(about, shape, label, below)
    kind = "host outside" if style else "host"
    return tag("a", drawn, href=f"#{anchor}", class_=kind, data_h=node.name) if anchor else tag("g", drawn, class_=kind)


def _edge(each: Join, nodes: Mapping[str, _Node], ways: Mapping[tuple[str, str], list[_Node]], aside: float) -> Markup:
    one = nodes[each.start]
    if each.start == each.end:
        middle = one.x + one.width / 2 + aside
        line = f"M{middle - 12:.0f} {one.y:.0f}c-4-18 28-18 24 0"
        spot = (middle, one.y - 15)
    else:
        way = ways.get((each.start, each.end)) or ways[each.end, each.start][::-1]
        line, spot = _line(way, aside)
    ids = [queue_id for edge in each.edges for queue_id in edge.queue_ids]
    number = len(ids)
    named = ", ".join(visible(queue_id) for queue_id in dict.fromkeys(ids[:TOLD]))
    about = named + (f" and {count(number - TOLD, 'other')}" if number > TOLD else "")
    label = tag("text", f"{number:,}", x=round(spot[0]), y=round(spot[1]), class_="number") if number > 1 else None
    path = tag("path", d=line, marker_end="url(#arrow)")
    return tag("g", tag("title", about) if number > 1 else None, path, label, class_=f"edge {each.style}".rstrip())


def _line(way: Sequence[_Node], aside: float) -> tuple[str, tuple[float, float]]:
    """A line through the places of its way, to the right or back, and where its number stands."""
    back = way[0].layer > way[1].layer
    x, y = way[0].x + (0 if back else way[0].width), way[0].y + HEIGHT / 2 + aside
    line, spot = f"M{x:.0f} {y:.0f}", (0.0, 0.0)
    for node in way[1:]:
        to, level = node.x + (node.width if back else 0), node.y + HEIGHT / 2 + aside
        middle = (x + to) / 2
        line += f"C{middle:.0f} {y:.0f} {middle:.0f} {level:.0f} {to:.0f} {level:.0f}"
        spot = spot if node is not way[1] else (middle, (y + level) / 2 + (13 if back else -5))
        x, y = to, level
    return line, spot
