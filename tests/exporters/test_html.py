"""The page: what is in it, and what a real browser makes of it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import T0, any_report, delivery, hop, link, mail, report, row

from mailtrace.exporters.html import STORIES, Html
from mailtrace.exporters.html_axis import BREAKS, Axis
from mailtrace.exporters.html_lanes import Lanes
from mailtrace.exporters.html_markup import Markup, join, tag, text
from mailtrace.exporters.html_pack import PACK
from mailtrace.exporters.html_scene import LINES
from mailtrace.load import load_job
from mailtrace.model import (
    ClockNote,
    Coverage,
    Delivery,
    Expectation,
    Hop,
    Link,
    LogEntry,
    Mail,
    Note,
    Recipient,
    Warning_,
    Zone,
)
from mailtrace.report import Report, visible
from mailtrace.run import gather
from mailtrace.story import Index, Story

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GREY = "host box[10.0.0.9] said: 450 4.2.0 <anna@alpha.example>: Greylisted (in reply to RCPT TO command)"
LIMIT = 150_000
"""Bytes that the page of one mail may have."""
MANY = 8_000_000
"""Bytes that a page of 5,000 mails may have."""


def written(made: Report, **options: Any) -> str:
    stream = io.StringIO()
    Html(**{"time_zone": "UTC", **options}).export(made, stream)
    return stream.getvalue()


def entry(host: str, raw: str) -> LogEntry:
    return LogEntry(host, T0, Zone.UTC, 0, host, "postfix", "smtp", 1, "", Note("", ""), raw)


def fork(users: int = 3, name: str = "user") -> Mail:
    """mx hands a mail to a box for each user; the first one is greylisted for five minutes, the last one bounces."""
    names = [f"{name}{i}@alpha.example" for i in range(users)]
    tries = [delivery(names[0], "deferred", "box[10.0.0.9]:25", at=0.3, delays=(0.01, 0.0, 0.2, 0.09), reply=GREY)]
    for i, to in enumerate(names):
        at = 300.5 if not i else 0.2
        delays = (300.2, 0.0, 0.2, 0.1) if not i else (0.01, 0.0, 0.1, 0.09)
        tries.append(delivery(to, relay="box[10.0.0.9]:25", at=at, delay=sum(delays), delays=delays, reply_id=f"B{i}"))
    mx = hop("mx", "AAA111", *tries, client="client.example[192.0.2.9]", at=0.001)
    mx.entries = [entry("mx", f"mx postfix/smtp[1]: AAA111: to=<{to}>") for to in names]
    last = users - 1
    boxes = [
        hop("box", f"B{i}", delivery(to, "sent" if i < last else "bounced", "", at=301 if not i else 0.4, reply="full"),
            at=300.45 if not i else 0.19)
        for i, to in enumerate(names)
    ]  # fmt: skip
    rows = [
        row(to, "delivered" if i < last else "bounced", mx, boxes[i], seconds=301 if not i else 0.4,
            attempts=1 if i else 2, reason="" if i < last else "mailbox full")
        for i, to in enumerate(names)
    ]  # fmt: skip
    return mail([mx, *boxes], rows, [link(mx, box) for box in boxes], subject="Figures")


def plenty(number: int = 60) -> Report:
    """So many mails that the page has a table; each has its own hosts, sender and subject."""
    out = []
    for i in range(number):
        mx = hop(f"mx{i % 3}", f"ID{i:04}", delivery("anna@alpha.example", "sent" if i % 4 else "bounced", at=i + 0.5),
                 at=float(i))  # fmt: skip
        mx.entries = [entry("mx", f"line of ID{i:04}")]
        rows = [row("anna@alpha.example", "delivered" if i % 4 else "bounced", mx, seconds=float(number - i))]
        out.append(mail([mx], rows, sender=f"s{i:04}@world.example", subject=f"subject {i}", message_id=f"m{i}@x"))
    return report(*out)


def demo(jobs: Path) -> Report:
    return gather(load_job(jobs / "demo.yaml"), keep_entries=True)


class Elements(HTMLParser):
    """Every element of a page, with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def unpacked(page: str) -> str:
    """The stories of a page's packs, by a reading of the format that is not the exporter's."""
    out = []
    for packed in re.findall(r'class="pack">([^<]*)<', page):
        inflated = zlib.decompress(base64.b85decode(packed.replace(",", "<")), -15).decode()
        first, *others = [kind.split("\x1f") for kind in inflated.split("\0")]
        holes = [iter(kind) for kind in others]
        out += [re.sub("[\x01-\x08]", lambda hole: next(holes[ord(hole[0]) - 1]), story) for story in first]  # noqa: B023
    return "\n".join(out)


# ------------------------------------------------------------------------------------------------ markup


def test_everything_is_escaped_that_is_no_markup() -> None:
    assert tag("p", "<b>", tag("i", "&"), None, ["a", text("'")], class_='"x"', data_n=0, hidden=True, open=False) == (
        '<p class="&quot;x&quot;" data-n="0" hidden>&lt;b&gt;<i>&amp;</i>a&#x27;</p>'
    )
    assert join("<", Markup("<br>")) == "&lt;<br>"


def test_what_moves_letters_around_is_visible() -> None:
    assert text("a\u202eb\x00c\x1b") == r"a\u202eb\x00c\x1b"


@given(st.text())
def test_text_in_a_page_is_what_the_log_had(words: str) -> None:
    class Reader(HTMLParser):
        said = ""

        def handle_data(self, data: str) -> None:
            self.said += data

    reader = Reader()
    reader.feed(tag("p", words, title=words))
    reader.close()
    assert reader.said == visible(words)


# ------------------------------------------------------------------------------------------------ the axis


def test_an_axis_is_linear_where_nothing_dominates() -> None:
    axis = Axis([0.0, 1.0, 3.0, 4.0])
    assert axis.breaks == []
    assert axis.at(2.0) == pytest.approx(axis.at(4.0) / 2)


def test_hours_of_waiting_are_cut_out_so_that_milliseconds_stay_wide() -> None:
    axis = Axis([0.0, 0.1, 0.3, 7200.0, 7200.2])
    (cut,) = axis.breaks
    assert (cut.start, cut.end) == (0.3, 7200.0)
    assert axis.at(0.1) - axis.at(0.0) > 10
    assert axis.at(7200.2) - axis.at(7200.0) == pytest.approx(2 * (axis.at(0.1) - axis.at(0.0)))


def test_a_longer_break_is_wider() -> None:
    one, other = Axis([0.0, 0.2, 60.0, 60.2, 90000.0, 90000.1]).breaks
    assert other.right - other.left > one.right - one.left


def test_retries_in_a_row_are_no_breaks() -> None:
    times = [float(i * 300) for i in range(BREAKS + 5)] + [i * 300 + 0.1 for i in range(BREAKS + 5)]
    assert Axis(times).breaks == []


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40))
def test_an_axis_keeps_order_and_stays_within_its_width(times: list[float]) -> None:
    axis = Axis(times)
    places = [axis.at(time) for time in sorted(times)]
    assert all(0 <= place <= 100 for place in places)
    assert all(after >= before - 1e-6 for before, after in pairwise(places))
    assert all(0 <= place <= 100 for place in axis.lines())
    assert len(axis.lines()) < 60


# ------------------------------------------------------------------------------------------------ lanes


def lanes(made: Mail) -> Lanes:
    return Lanes(Story(made, Index(report(made))))


def test_the_stages_of_a_delivery_are_its_bars() -> None:
    one = delivery("a@b", at=1.0, delay=1.0, delays=(0.1, 0.2, 0.3, 0.4), relay="box[10.0.0.9]:25")
    mx = hop("mx", "AAA", one, at=0.0)
    lane = lanes(mail([mx], [row("a@b", "relayed", mx)])).lane(mx, [one], None)
    told = [(bar.kind, round(bar.start - T0, 3), round(bar.end - T0, 3)) for bar in lane.bars]
    assert told == [("before", 0, 0.1), ("queue", 0.1, 0.3), ("connect", 0.3, 0.6), ("send", 0.6, 1.0)]


def test_what_lies_between_two_attempts_is_waiting() -> None:
    made = fork()
    mx, box = made.hops[0], made.hops[1]
    told = Story(made, Index(report(made)))
    lane = lanes(made).lane(mx, told.attempts(mx, box, made.recipients[0]), box)
    assert [bar.kind for bar in lane.bars] == ["before", "connect", "send", "wait", "connect", "send"]
    assert [mark.text for mark in lane.marks] == ["greylisted"]


def test_what_a_queue_gave_up_ends_there() -> None:
    one = delivery("a@b", "deferred", "box[10.0.0.9]:25", at=1.5, delays=(0.1, 0.1, 1.0, 0.3))
    mx = hop("mx", "AAA", one, at=0.0, until=60.5, expired=T0 + 60.5)
    lane = lanes(mail([mx], [row("a@b", "expired", mx)])).lane(mx, [one], None)
    assert [(mark.sign, mark.time - T0) for mark in lane.marks] == [("▲", 1.5), ("✗", 60.5)]
    assert (lane.bars[-1].kind, lane.bars[-1].end - T0) == ("wait", 60.5)


def test_a_stay_that_is_known_to_the_second_is_drawn_between_its_neighbours() -> None:
    mx = hop("mx", "AAA", delivery("a@b", relay="box[10.0.0.9]:25", reply_id="B", at=0.0, delay=0.1), at=0.0)
    box = hop("box", "B", delivery("a@b", at=0.953), at=0.951)
    made = lanes(mail([mx, box], [row("a@b", "delivered", mx, box)]))
    assert made.soft(mx)
    assert not made.soft(box)
    assert made.start(mx) - T0 == pytest.approx(0.851)


def test_a_stay_is_drawn_as_long_as_its_log_says_also_over_the_turn_of_a_second() -> None:
    one = delivery("a@b", relay="box[10.0.0.9]:25", reply_id="B", at=1.0, delay=0.03, delays=(0.01, 0.0, 0.01, 0.01))
    mx = hop("mx", "AAA", one, at=0.0)
    box = hop("box", "B", delivery("a@b", at=1.0), at=1.0)
    made = mail([mx, box], [row("a@b", "delivered", mx, box)])
    lane = lanes(made).lane(mx, [one], box)
    assert lane.bars[-1].end - lane.bars[0].start == pytest.approx(0.03)
    assert lane.bars[-1].end - T0 >= 1.0


def test_what_the_log_counts_from_an_earlier_stay_does_not_move_the_next_host() -> None:
    """A message that was requeued: Postfix counts its delay from the first time that it came."""
    mx = hop("mx", "AAA", delivery("a@b", relay="box[10.0.0.9]:25", reply_id="B", at=4.2, delay=90.0), at=0.5)
    box = hop("box", "B", delivery("a@b", relay="c[10.0.0.8]:25", at=4.0, delay=0.1), at=4.0)
    made = lanes(mail([mx, box], [row("a@b", "relayed", mx, box)]))
    assert made.start(box) - T0 == pytest.approx(4.2)


def test_a_stay_is_never_drawn_outside_of_its_second() -> None:
    mx = hop("mx", "AAA", delivery("a@b", relay="box[10.0.0.9]:25", reply_id="B", at=3.0, delay=3.0), at=0.0)
    box = hop("box", "B", delivery("a@b", at=9.5), at=9.5)
    start = lanes(mail([mx, box], [row("a@b", "delivered", mx, box)])).start(mx) - T0
    assert 0 <= start < 1


# ------------------------------------------------------------------------------------------------ the page


def test_the_same_report_gives_the_same_page() -> None:
    assert written(report(fork())) == written(report(fork()))


def test_nothing_but_the_page_s_own_script_and_style_may_run() -> None:
    page = written(plenty())
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        assert f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy


def test_no_element_loads_anything_or_carries_a_style_or_a_handler() -> None:
    for page in (written(report(fork())), written(plenty()), unpacked(written(plenty()))):
        for name, attributes in Elements(page).found:
            assert name not in {
                "img",
                "link",
                "iframe",
                "object",
                "embed",
                "form",
                "base",
                "audio",
                "video",
                "foreignobject",
            }
            assert not {"src", "srcset", "style", "action", "background"} & set(attributes)
            assert not [key for key in attributes if key.startswith("on")]
            assert attributes.get("href", "#") == "#" or str(attributes["href"]).startswith("#")


def test_ids_are_used_once() -> None:
    for page in (written(report(fork(), fork())), written(plenty())):
        ids = [attributes["id"] for _, attributes in Elements(page).found if "id" in attributes]
        assert len(ids) == len(set(ids))


def test_the_story_is_plain_text() -> None:
    page = re.sub(r"<[^>]*>", "", written(report(fork())))
    for words in (
        "user0@alpha.example", "greylisted by box [10.0.0.9]: 450 4.2.0", "handed on at attempt 2, 5 min after it came",
        "bounced on box after 0.4 s: mailbox full", "AAA111", "1 bounced", "Figures", "client.example [192.0.2.9]",
    ):  # fmt: skip
        assert words in page.replace("&lt;", "<").replace("&gt;", ">"), words


def test_one_mail_is_small_also_to_fifty() -> None:
    assert len(written(report(fork())).encode()) < LIMIT / 3
    assert len(written(report(fork(50))).encode()) < LIMIT


def test_the_page_of_the_demo_is_small(jobs: Path) -> None:
    assert len(written(demo(jobs)).encode()) < LIMIT


def test_hops_have_their_log_lines_unless_the_job_wants_none() -> None:
    assert "mx postfix/smtp[1]: AAA111: to=&lt;user1@alpha.example&gt;" in written(report(fork()))
    assert "postfix/smtp[1]" not in written(report(fork()), entries=False)


def test_too_many_log_lines_are_left_out_and_the_page_says_so() -> None:
    made = report(fork())
    made.mails[0].hops[0].entries *= LINES
    page = written(made)
    assert "postfix/smtp[1]" not in page
    assert "This page has no log lines" in page


def test_what_was_looked_at_is_told_with_its_gaps() -> None:
    page = written(
        report(
            fork(),
            coverage=[Coverage("mx9", "files", ("/l/mx9.log",), problem="permission denied", missing=True)],
            clocks=[ClockNote("mx", 3600.0, "ids", 92.0, "ids")],
            warnings=[Warning_("w", "mind <this>")],
            expectations=[Expectation("within: 60s", False, "301 s")],
            partial=True,
        )
    )
    for words in (
        "mx9: permission denied",
        "1 min 32 s fast",
        "mind &lt;this&gt;",
        "within: 60s",
        "301 s",
        "Interrupted",
    ):
        assert words in page, words


def test_nothing_found_is_a_page_too() -> None:
    page = written(report(coverage=[Coverage("mx", "files", lines=12)]))
    assert "No mail found." in page
    assert "12 lines" in page


def test_many_mails_have_a_row_each_and_their_stories_packed() -> None:
    page = written(plenty())
    assert len(re.findall(r'href="#m\d+">', page)) == 60
    assert "subject 59" in page
    stories = unpacked(page)
    assert stories.count("<article") == 60
    assert "line of ID0059" in stories
    assert "<article" not in page


def test_packs_hold_the_stories_that_would_be_written_out() -> None:
    made = plenty(STORIES + 1)
    few = Report(made.name, made.kind, mails=made.mails[:STORIES])
    written_out = re.findall(r"<article.*?</article>", written(few), re.DOTALL)
    packed = re.findall(r"<article.*?</article>", unpacked(written(made)), re.DOTALL)
    assert [story.replace(f"of {STORIES}", "of 11") for story in written_out] == packed[:STORIES]


def test_more_mails_than_a_pack_holds_need_another() -> None:
    assert written(plenty(PACK + 1)).count('class="pack"') == 2


def test_of_many_log_lines_of_a_few_mails_those_of_each_hop_are_packed() -> None:
    made = report(fork())
    made.mails[0].hops[0].entries *= 100
    page = written(made)
    assert "postfix/smtp[1]" not in page
    (packed,) = re.findall(r'class="pack-lines">([^<]*)<', page)
    inflated = zlib.decompress(base64.b85decode(packed.replace(",", "<")), -15).decode()
    assert inflated.count("postfix/smtp[1]: AAA111") == 200
    assert "and 100 more lines" in inflated


def test_a_host_that_refused_is_in_the_graph_and_a_program_is_none() -> None:
    mx = hop("mx", "AAA", delivery("a@b", "bounced", "box.example[10.0.0.9]:25"), delivery("c@b", "bounced", "local"))
    page = written(report(mail([mx], [row("a@b", "bounced", mx), row("c@b", "bounced", mx)])))
    assert re.findall(r'<g class="host outside">.*?<text[^>]*>([^<]*)<', page) == ["box.example"]
    assert 'class="edge failed"' in page


def test_what_a_hop_may_be_as_well_has_a_row_with_its_evidence() -> None:
    mx = hop("mx", "AAA", delivery("a@b", relay="f[10.0.0.3]:25", at=0.3))
    one, other = (hop("f", id_, delivery("a@b", at=0.6), at=0.4) for id_ in ("B1", "B2"))
    links = [link(mx, each, "relayed", "ambiguous", f"size: {each.queue_id} is as large") for each in (one, other)]
    page = written(report(mail([mx, one, other], [row("a@b", "delivered", mx, one)], links)))
    assert "<b>may as well be f B2</b>: B2 is as large" in page
    assert len(re.findall(r'class="row( again)?"', page)) == 3
    assert "B2</code> <small>may be</small>" in page


def test_attempts_of_one_transaction_are_one_row() -> None:
    tries = [delivery(f"u{i}@b", relay="box[10.0.0.9]:25", at=0.3 + i / 1000, reply="250 ok") for i in range(40)]
    mx = hop("mx", "AAA", *tries)
    page = written(report(mail([mx], [row(one.recipient, "relayed", mx) for one in tries])))
    assert page.count("250 ok</td>") == 1
    assert "u0@b, u1@b, u2@b" in page


def test_of_very_many_mails_the_first_have_a_story_and_all_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtrace.exporters.html.PACKED", 20)
    page = written(plenty())
    assert len(re.findall(r'href="#m\d+">', page)) == 60
    assert unpacked(page).count("<article") == 20
    assert "Only the first 20 of 60 mails open to their story." in page


def test_a_mail_to_thousands_is_told_in_a_page_of_sensible_size() -> None:
    assert len(written(report(fork(2000))).encode()) < 2_000_000


@settings(max_examples=60, deadline=None)
@given(any_report(), st.booleans())
def test_any_report_is_a_page(made: Report, entries: bool) -> None:
    page = written(made, entries=entries)
    names = {name for name, _ in Elements(page + unpacked(page)).found}
    assert names <= KNOWN, names - KNOWN


KNOWN = set(
    "html head meta title style body svg marker path a header h1 h2 h3 h4 p b i main section article div label input "
    "button table caption thead tbody tr th td small time span dl dt dd code details summary ol ul li rect line text "
    "tspan g pre footer kbd script".split()
)
"""Every element that a page may have."""

# ------------------------------------------------------------------------------------------------ in a browser

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""As root, and on a machine that reaches no network."""

browsing = pytest.mark.needs("chromium", "playwright")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        yield found
        found.close()


class Reader:
    """Someone who opens pages and minds everything that a browser complains of or asks for."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.heard: list[str] = []

    def open(self, made: Report, *, width: int = 1280, dark: bool = False, scripts: bool = True, at: str = "") -> Page:
        file = self.folder / "page.html"
        file.write_text(written(made), encoding="utf-8")
        context = self.browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: self.heard.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: self.heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.heard.append(f"dialog: {dialog.message}"))
        page.on("request", lambda asked: self.heard.append(f"asked for {asked.url}"))
        page.goto(f"{file.as_uri()}{at}")
        assert self.heard.pop(0).startswith("asked for file:")
        return page


@pytest.fixture
def reader(browser: Browser, tmp_path: Path) -> Iterator[Reader]:
    """A reader; at the end nothing may have been complained of, and nothing asked for but the page."""
    made = Reader(browser, tmp_path)
    yield made
    for context in browser.contexts:
        context.close()
    assert made.heard == []


@browsing
def test_a_click_on_a_bar_shows_its_evidence_and_log_lines(reader: Reader, jobs: Path) -> None:
    page = reader.open(demo(jobs))
    row_ = page.locator("#m3h4")
    assert not row_.locator(".more").is_visible()
    row_.locator("svg.track").click()
    assert "relay1.lab.test answered: queued as" in row_.locator(".proof").inner_text()
    assert "status=deferred (host mailbox2.lab.test" in row_.locator(".lines").inner_text()
    assert row_.locator(".tries tbody tr").count() == 3


@browsing
def test_without_scripts_all_is_there_and_rows_still_open(reader: Reader, jobs: Path) -> None:
    page = reader.open(demo(jobs), scripts=False)
    assert "✗ bounced by mailbox1.lab.test [10.77.0.15]" in page.locator("body").inner_text()
    assert not page.locator(".controls").is_visible()
    page.locator("#m1h1 > summary").click()
    assert page.locator("#m1h1 .lines").is_visible()
    table = reader.open(plenty(), scripts=False)
    assert table.locator("table.mails tbody tr").count() == 60


@browsing
def test_bars_lie_where_their_time_is(reader: Reader) -> None:
    page = reader.open(report(fork()))
    boxes = [bar.bounding_box() for bar in page.locator(".fall .row svg.track").first.locator("rect").all()]
    assert all(box and box["width"] >= 1 for box in boxes)
    lefts = [box["x"] for box in boxes if box]
    assert lefts == sorted(lefts)
    grid = page.locator("svg.grid").bounding_box()
    track = page.locator(".fall .row svg.track").first.bounding_box()
    assert grid
    assert track
    assert abs(grid["x"] - track["x"]) < 1.5
    assert abs(grid["width"] - track["width"]) < 1.5


@browsing
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 800])
def test_a_narrow_page_does_not_scroll_sideways(reader: Reader, jobs: Path, width: int, dark: bool) -> None:
    for made in (demo(jobs), report(fork(50)), plenty()):
        page = reader.open(made, width=width, dark=dark)
        page.keyboard.press("e")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@browsing
def test_text_can_be_read_on_its_ground(reader: Reader, jobs: Path) -> None:
    """WCAG's contrast of 4.5, of every element that has text of its own."""
    for dark in (False, True):
        page = reader.open(demo(jobs), dark=dark)
        page.keyboard.press("e")
        assert page.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data; };
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => { const v = c[i] / 255;
    return sum + part * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
  const ground = (at) => { for (; at; at = at.parentElement) { const c = rgba(getComputedStyle(at).backgroundColor);
    if (c[3] > 250) return c; } return [255, 255, 255]; };
  const poor = new Set();
  for (const at of document.querySelectorAll("body *:not(script):not(svg *)")) {
    if (![...at.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !at.checkVisibility()) continue;
    const [a, b] = [light(rgba(getComputedStyle(at).color)), light(ground(at))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.add(`${at.tagName}.${at.className}: ${at.textContent.slice(0, 30)}`);
  }
  return [...poor];
}"""


@browsing
def test_it_prints(reader: Reader, jobs: Path) -> None:
    page = reader.open(demo(jobs), dark=True)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".controls").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


@browsing
def test_the_keyboard_leads_everywhere(reader: Reader, jobs: Path) -> None:
    page = reader.open(demo(jobs))
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("je")  # letters typed into the field are no commands
    assert page.locator("#q").input_value() == "je"
    page.keyboard.press("Escape")
    assert page.locator("#q").input_value() == ""
    for _ in range(4):  # past the three rows of the table
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    assert page.locator("#m1h1").get_attribute("open") is not None
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.parentElement.id") == "m1h1"


@browsing
def test_one_recipient_s_way_can_be_shown_alone(reader: Reader, jobs: Path) -> None:
    page = reader.open(demo(jobs))
    page.get_by_role("button", name="anna@alpha.lab.test").click()
    branches = page.locator("#m1 .branch")
    assert [("fade" in (branch.get_attribute("class") or "")) for branch in branches.all()] == [True, False, True]
    page.keyboard.press("Escape")
    assert page.locator("#m1 .fade").count() == 0


@browsing
def test_the_graph_leads_to_its_hosts(reader: Reader, jobs: Path) -> None:
    page = reader.open(demo(jobs))
    page.locator("#m1 .graph a.host", has_text="relay1").click()
    row_ = page.locator(".row:target")
    assert row_.locator(".what b").inner_text() == "relay1"
    assert row_.locator(".lines").is_visible()


def shown(page: Page) -> list[str]:
    """The mails that the table shows, by their senders."""
    return [str(name) for name in page.evaluate(
        "[...document.querySelectorAll('table.mails > tbody > tr:not(.opened)')]"
        ".map((row) => row.cells[1].firstChild.textContent)"
    )]  # fmt: skip


@browsing
def test_many_mails_can_be_searched(reader: Reader) -> None:
    page = reader.open(plenty())
    page.locator("#q").fill("mx1 ID0004")
    page.get_by_text("1 of 60 mails").wait_for()
    assert shown(page) == ["s0004@world.example"]
    page.locator("#q").fill("")
    page.get_by_role("button", name="bounced").click()
    assert len(shown(page)) == 15
    page.keyboard.press("Escape")
    assert len(shown(page)) == 60


@browsing
def test_of_a_few_mails_a_search_shows_the_stories_that_it_finds(reader: Reader, jobs: Path) -> None:
    page = reader.open(demo(jobs))
    page.locator("#q").fill("bianca")
    page.get_by_text("1 of 3 mails").wait_for()
    assert [page.locator(name).is_visible() for name in ("#m1", "#m2", "#m3")] == [False, False, True]
    page.evaluate("location.hash = 'm2'")  # as the link of a bounce does
    page.locator("#m2").wait_for()
    assert page.locator("#q").input_value() == ""


@browsing
def test_thousands_of_rows_are_drawn_when_they_are_reached(reader: Reader) -> None:
    page = reader.open(plenty(PACK + 150))
    assert len(shown(page)) < PACK
    page.locator("#q").fill("s0399@")
    page.get_by_text("1 of 400 mails").wait_for()
    assert shown(page) == ["s0399@world.example"]
    page.evaluate("location.hash = 'm390h1'")
    page.locator("#m390h1 .lines").wait_for()
    assert "line of ID0389" in page.locator("#m390h1 .lines").inner_text()
    page.reload()
    page.evaluate("scrollTo(0, 1e9)")
    page.locator("table.mails > tbody > tr", has_text="s0150@").wait_for()
    reader.heard.clear()  # it asked for the page again


@browsing
def test_many_mails_can_be_put_in_order(reader: Reader) -> None:
    page = reader.open(plenty())
    took = page.get_by_role("columnheader", name="took")
    took.get_by_role("button").click()
    assert shown(page)[0] == "s0059@world.example"
    assert took.get_attribute("aria-sort") == "ascending"
    took.get_by_role("button").click()
    assert shown(page)[0] == "s0000@world.example"
    page.get_by_role("columnheader", name="outcome").get_by_role("button").click()
    assert shown(page)[-1] == "s0056@world.example"  # bounced: worse than delivered


@browsing
def test_a_packed_story_opens_under_its_row_and_by_its_link(reader: Reader) -> None:
    page = reader.open(plenty(), at="#m17h1")
    page.locator("#m17h1 .lines").wait_for()
    assert "line of ID0016" in page.locator("#m17h1 .lines").inner_text()
    page.locator("table.mails > tbody > tr", has_text="ID0020").click()
    page.locator("#m21").wait_for()
    page.locator("table.mails > tbody > tr", has_text="ID0020").locator("a[href]").press("Enter")
    page.locator("#m21").wait_for(state="detached")


@browsing
def test_packed_log_lines_are_there_when_their_row_is_opened(reader: Reader) -> None:
    made = report(fork())
    made.mails[0].hops[0].entries *= 100
    page = reader.open(made)
    page.evaluate("for (let i = 0; i < 3; i++) document.querySelector('#m1h1 > summary').click()")
    assert "AAA111: to=<user0@alpha.example>" in page.locator("#m1h1 .lines").inner_text()


@browsing
def test_headings_tables_and_buttons_are_named_for_who_cannot_see(reader: Reader, jobs: Path) -> None:
    page = reader.open(demo(jobs))
    page.keyboard.press("e")
    levels: list[int] = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('table')].filter((t) => !t.querySelector('th')).length") == 0
    unnamed = (
        "[...document.querySelectorAll('button,a,[role=region],[role=group]')].filter((e) => !e.textContent.trim())"
    )
    assert page.evaluate(f"{unnamed}.length") == 0
    assert page.locator("html").get_attribute("lang") == "en"


HOSTILE = (
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", "<!--<script>", "]]><script>alert(3)</script>",
    '"><img src=x onerror=alert(4)>', "'><svg onload=alert(5)>", "</style><script>alert(6)</script>", "</title><h1>x",
    "<iframe src=javascript:alert(7)>", "javascript:alert(8)", "<a href=javascript:alert(9)>click</a>", "{{7*7}}",
    "${alert(10)}", "`${alert(11)}`", "<base href=http://192.0.2.1/>", "<meta http-equiv=refresh content=0>",
    "<form action=//192.0.2.1><button>", "<link rel=stylesheet href=//192.0.2.1/a.css>", "&lt;b&gt;", "&#60;b&#62;",
    "</details></article></main>", "<td></tr></table>", "<details open ontoggle=alert(12)>", "\u202egnp.exe", "a\0b",
    "\x01\x02\x08\x1f", "\ud800", "<math><mtext></mtext><style><img src=x onerror=alert(13)>", "<template><p>",
    "\u2028\u2029", "<svg><use href=data:image/svg+xml,x>", "onmouseover=alert(14) x=", "%3Cb%3E", "\\u003cb\\u003e",
)  # fmt: skip
"""What someone could send, log in with, or name a host, hoping that somebody looks at it."""


def hostile(words: str, number: int = 0) -> Mail:
    """A mail in which everything that a log can tell is hostile."""
    said = f"host {words}[{words}] said: 550 {words}"
    mx = hop(words, f"{words}{number}",
             delivery(words, "bounced", f"{words}[{words}]:25", at=1, reply=said, dsn=words, tls=words, raw_time=words,
                      transport=words, original_recipient=f"{words}2"),
             client=f"{words}[{words}]", helo=words, user=words, tls=words, instance=words, mta=words)  # fmt: skip
    mx.entries = [entry(words, words)]
    out = hop(words, f"{words}b{number}", delivery(words, "deferred", f"{words}[10.0.0.9]:25", at=2, reply=words), at=1)
    joint = link(mx, out, "reinjected", "ambiguous", f"{words}: {words}" if ": " not in words else words)
    rows = [row(words, "deferred", mx, out, reason=said), row(f"{words}3", "bounced", mx, reason=words)]
    return mail([mx, out], rows, [joint], sender=words, subject=words, message_id=words, id=f"{words}{number}")


def hostile_report(each: Sequence[str], number: int) -> Report:
    all_ = " ".join(each)
    return report(
        *(hostile(words, i) for i, words in enumerate(each)),
        *(hostile(all_, i) for i in range(len(each), number)),
        name=all_,
        zone=all_,
        start=T0,
        coverage=[Coverage(all_, all_, (all_,), problem=all_)],
        clocks=[ClockNote(all_, 3600.0, all_, 2.0, all_)],
        warnings=[Warning_(all_, all_, all_)],
        expectations=[Expectation(all_, False, all_)],
    )


@browsing
def test_hostile_text_stays_text(reader: Reader) -> None:
    for start in range(0, len(HOSTILE), 8):
        some = HOSTILE[start : start + 8]
        page = reader.open(hostile_report(some, len(some)))
        page.keyboard.press("e")
        check_harmless(page, some)


@browsing
def test_hostile_text_stays_text_when_it_is_unpacked(reader: Reader) -> None:
    page = reader.open(hostile_report(HOSTILE, len(HOSTILE)))
    for number in range(1, len(HOSTILE) + 1):
        page.evaluate(f"location.hash = 'm{number}h1'")
        page.locator(f"#m{number}h1").wait_for()
    page.keyboard.press("e")
    check_harmless(page, HOSTILE)
    page.locator("#q").fill("<script>alert(1)</script>")
    page.get_by_text(f"1 of {len(HOSTILE)} mails").wait_for()


def check_harmless(page: Page, strings: Sequence[str]) -> None:
    """The page shows these strings letter by letter, and has no element that it was not written with."""
    names = set(page.evaluate("[...new Set([...document.querySelectorAll('*')].map((e) => e.tagName.toLowerCase()))]"))
    assert names <= KNOWN, names - KNOWN
    assert page.evaluate("document.querySelectorAll('script:not(.pack)').length") == 1
    seen = page.evaluate("document.body.textContent")
    assert [words for words in strings if visible(words) not in seen] == []


@pytest.mark.slow
def test_five_thousand_mails_of_a_real_fleet_fit_into_eight_megabytes() -> None:
    import truth

    made = gather(load_job({"version": 1, "kind": "trace", "config": truth.fleet("rough")}), keep_entries=True)
    made.mails = list(again(made.mails, 5000))
    assert len(written(made).encode()) < MANY


def again(mails: Sequence[Mail], number: int) -> Iterator[Mail]:
    """Mails over and over, each time with other IDs, so that they pack no better than others would."""
    for i in range(number):
        yield anew(mails[i % len(mails)], i // len(mails))


def anew(one: Mail, turn: int) -> Mail:
    def new(text: str) -> str:
        """The same ID with other digits and letters, always the same ones in one turn."""
        digits = hashlib.sha256(f"{turn} {text}".encode()).hexdigest() * (1 + len(text) // 64)
        return "".join(other.upper() if c.isalnum() else c for c, other in zip(text, digits, strict=False))

    def replied(done: Delivery) -> Delivery:
        id_ = done.reply_id
        return done._replace(reply_id=new(id_), reply=done.reply.replace(id_, new(id_)) if id_ else done.reply)

    def hop_(old: Hop) -> Hop:
        deliveries = [replied(done) for done in old.deliveries]
        return replace(old, id=f"{old.id} {turn}", queue_id=new(old.queue_id), deliveries=deliveries)

    def link_(old: Link) -> Link:
        facts = (fact._replace(text=re.sub(r"\S{9,}", lambda found: new(found[0]), fact.text)) for fact in old.evidence)
        return old._replace(from_=f"{old.from_} {turn}", to=f"{old.to} {turn}", evidence=tuple(facts))

    def row_(old: Recipient) -> Recipient:
        steps = (step._replace(queue_id=new(step.queue_id), hop=f"{step.hop} {turn}") for step in old.path)
        return old._replace(path=tuple(steps))

    return replace(
        one,
        message_id=new(one.message_id),
        hops=[hop_(each) for each in one.hops],
        links=[link_(each) for each in one.links],
        recipients=[row_(each) for each in one.recipients],
    )
