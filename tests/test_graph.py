"""The graph of a mail's flow, and its form in Graphviz' language."""

from __future__ import annotations

import io
import subprocess
import warnings
from pathlib import Path

import pydot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import any_report, delivery, hop, link, mail, report, row

from mailtrace.graph import MailGraph
from mailtrace.model import Coverage
from mailtrace.report import Report

SEED = """\
digraph {
"smtp-relay-1.example.com";
"smtp-relay-2.example.com";
"mail-delivery.example.com";
"smtp-relay-1.example.com" -> "smtp-relay-2.example.com" [key=0, label="8DCB211F769"];
"smtp-relay-2.example.com" -> "mail-delivery.example.com" [key=1, label="9EF8A12BC3D"];
}
"""
NASTY = [
    "node",
    "graph",
    "strict",
    "",
    "a:b",
    '"',
    "\\",
    'a\\"',
    "\\N",
    "a\nb",
    "<b>html</b>",
    "//c",
    "#",
    "a;} x",
    "\x1b[31m",
    "\udcff",
    "é",
    "$1",
    "[",
]


def edges(graph: MailGraph) -> list[tuple[str, str, str]]:
    return [(edge.from_host, edge.to_host, edge.label) for edge in graph.edges]


def parsed(text: str) -> pydot.Dot:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pydot's reader calls pyparsing by names that go
        graphs = pydot.graph_from_dot_data(text)
    assert graphs is not None
    assert len(graphs) == 1
    return graphs[0]


def test_the_manual_s_example_comes_out_in_the_manual_s_form() -> None:
    graph = MailGraph()
    graph.add_hop("smtp-relay-1.example.com", "smtp-relay-2.example.com", "8DCB211F769")
    graph.add_hop("smtp-relay-2.example.com", "mail-delivery.example.com", "9EF8A12BC3D")
    assert str(graph).splitlines()[:1] == ["digraph {"]
    assert sorted(str(graph).splitlines()) == sorted(SEED.splitlines())
    assert str(graph) == SEED


def test_no_path_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    MailGraph().to_dot()
    MailGraph().to_dot("-")
    assert capsys.readouterr().out == "digraph {\n}\n" * 2


def test_a_path_is_a_file_and_a_stream_is_written_to(tmp_path: Path) -> None:
    graph = MailGraph()
    graph.add_hop("a", "b", "1")
    graph.to_dot(str(tmp_path / "1.dot"))
    graph.to_dot(tmp_path / "2.dot")
    stream = io.StringIO()
    graph.to_dot(stream)
    assert stream.getvalue() == str(graph)
    assert (tmp_path / "1.dot").read_text() == (tmp_path / "2.dot").read_text() == str(graph)


@pytest.mark.parametrize("name", NASTY)
def test_a_hostile_name_is_only_a_name(name: str) -> None:
    graph = MailGraph()
    graph.add_hop(name, f"{name}2", name)
    again = parsed(str(graph))
    assert len(again.get_nodes()) == 2
    assert len(again.get_edges()) == 1
    assert len(str(graph).splitlines()) == 5
    str(graph).encode()


@pytest.mark.needs("dot")
@pytest.mark.parametrize("name", NASTY)
def test_graphviz_reads_what_is_written(name: str) -> None:
    graph = MailGraph()
    graph.add_hop(name, f"{name}2", name)
    drawn = subprocess.run(
        ["dot", "-Tplain"], input=str(graph).encode(), capture_output=True, check=True
    ).stdout.decode()
    assert [line.split()[0] for line in drawn.splitlines()] == ["graph", "node", "node", "edge", "stop"]


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8)), max_size=4))
def test_any_names_make_a_valid_graph(hops: list[tuple[str, str, str]]) -> None:
    graph = MailGraph()
    for one, other, queue_id in hops:
        graph.add_hop(one, other, queue_id)
    assert len(parsed(str(graph)).get_edges()) == len(hops)


@settings(deadline=None)
@given(any_report())
def test_any_report_makes_a_valid_graph(made: Report) -> None:
    graph = MailGraph.of(made)
    assert len(parsed(str(graph)).get_edges()) == len(graph.edges)


def test_of_nothing_is_an_empty_valid_graph() -> None:
    assert str(MailGraph.of(report())) == "digraph {\n}\n"


def test_a_mail_that_stays_on_its_host_is_a_node() -> None:
    here = hop("mx", "8DCB211F769", delivery("anna@alpha.example", relay="local"))
    graph = MailGraph.of(report(mail([here], [row("anna@alpha.example", "delivered", here)])))
    assert list(graph.hosts) == ["mx"]
    assert graph.edges == []


def test_an_edge_carries_the_queue_id_of_the_host_it_leaves_and_a_filter_is_a_loop() -> None:
    mx, before, after, box = hop("mx2", "4jX"), hop("filter1", "DBB"), hop("filter1", "E72"), hop("box", "E85")
    graph = MailGraph.of(report(mail([mx, before, after, box], [row("a@b", "delivered", mx, before, after, box)])))
    assert edges(graph) == [("mx2", "filter1", "4jX"), ("filter1", "filter1", "DBB"), ("filter1", "box", "E72")]


def test_each_hand_off_of_one_mail_is_an_edge() -> None:
    mx, one, two = hop("mx", "AAA"), hop("box", "BBB"), hop("box", "CCC")
    rows = [row("a@b", "delivered", mx, one), row("c@d", "delivered", mx, two)]
    graph = MailGraph.of(report(mail([mx, one, two], rows, [link(mx, one), link(mx, two)])))
    assert edges(graph) == [("mx", "box", "AAA"), ("mx", "box", "AAA")]
    assert str(graph).count("key=0") == str(graph).count("key=1") == 1


def test_parallel_edges_of_many_mails_are_merged_and_counted() -> None:
    def one(number: int) -> object:
        mx, box = hop("mx", f"A{number}"), hop("box", f"B{number}")
        return mail([mx, box], [row("a@b", "delivered", mx, box)], id=str(number))

    def graph(count: int) -> MailGraph:
        return MailGraph.of(report(*(one(i) for i in range(count))))  # type: ignore[arg-type]

    assert edges(graph(1)) == [("mx", "box", "A0")]
    assert edges(graph(2)) == [("mx", "box", "2 messages\nA0\nA1")]
    assert edges(graph(9)) == [("mx", "box", "9 messages")]
    assert edges(graph(1200)) == [("mx", "box", "1,200 messages")]
    copies = MailGraph()
    copies.add_hop("mx", "box", "A0")
    copies.edges[0].queue_ids += ["A0", "A1"]
    assert edges(copies) == [("mx", "box", "3 messages\nA0 (2 copies)\nA1")]
    copies.edges[0].queue_ids.pop()
    assert edges(copies) == [("mx", "box", "A0 (2 copies)")]
    assert '"2 messages\\nA0\\nA1"' in str(graph(2))


def test_a_graph_of_thousands_of_recipients_takes_no_square_of_them() -> None:
    class Counted(str):  # noqa: SLOT000 - it only counts
        looked = 0

        def lower(self) -> str:
            Counted.looked += 1
            return super().lower()

    names = [Counted(f"u{i}@d.example") for i in range(2000)]
    out = hop("out", "AAA", *(delivery(to, relay="mx.d.example[192.0.2.1]:25", reply="250 OK 1") for to in names))
    MailGraph.of(report(mail([out], [row(to, "relayed", out) for to in names])))
    assert Counted.looked < 10 * len(names)


def test_a_host_outside_that_took_the_mail_is_a_dashed_node() -> None:
    both = (delivery(to, relay="mx.big.example[192.0.2.1]:25", reply="250 OK 12 - gsmtp") for to in ("a@b", "c@b"))
    out = hop("out", "AAA", *both)
    graph = MailGraph.of(report(mail([out], [row("a@b", "relayed", out), row("c@b", "relayed", out)])))
    assert edges(graph) == [("out", "mx.big.example", "AAA")]
    assert '"mx.big.example" [style=dashed];' in str(graph)


def test_a_fleet_host_that_lost_the_mail_keeps_the_inventory_s_name() -> None:
    out = hop("out", "AAA", delivery("a@b", relay="MX2.example[10.0.0.2]:25"))
    lost = report(mail([out], [row("a@b", "in_transit", out)]), coverage=[Coverage("mx2.example", "files")])
    assert edges(MailGraph.of(lost)) == [("out", "mx2.example", "AAA")]


def test_what_was_not_handed_on_has_no_edge() -> None:
    out = hop("out", "AAA", delivery("a@b", "bounced", relay="mx[192.0.2.1]:25"))
    assert MailGraph.of(report(mail([out], [row("a@b", "bounced", out)]))).edges == []


def test_a_bounce_of_another_mail_is_drawn_once_and_dotted() -> None:
    mx, notice = hop("mx", "AAA"), hop("mx", "BBB")
    cause = link(mx, notice, "bounced")
    both = report(
        mail([mx], [row("a@b", "bounced", mx)], [cause]), mail([notice], [row("s@t", "delivered", notice)], [cause])
    )
    graph = MailGraph.of(both)
    assert edges(graph) == [("mx", "mx", "AAA")]
    assert "style=dotted" in str(graph)


def test_equal_candidates_are_all_drawn_dashed() -> None:
    mx, one, two = hop("mx", "AAA"), hop("f", "BBB"), hop("g", "CCC")
    links = [link(mx, one, "relayed", "ambiguous"), link(mx, two, "relayed", "ambiguous")]
    graph = MailGraph.of(report(mail([mx, one, two], [row("a@b", "delivered", mx, one)], links)))
    assert edges(graph) == [("mx", "f", "AAA"), ("mx", "g", "AAA")]
    assert str(graph).count("style=dashed") == 2


def test_a_link_to_a_hop_that_is_not_in_the_report_is_left_out() -> None:
    mx = hop("mx", "AAA")
    assert MailGraph.of(report(mail([mx], [], [link(mx, hop("x", "Y"))]))).edges == []
