"""The page: one file, safe with hostile names, within its size, usable without colour."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_world import World, detection, variants_file, waived

from sightline.report.pack import write_pack
from sightline.report.thumbnails import BUDGET_BYTES, Thumbnails

VOID = {"meta", "img", "br", "link", "input", "hr"}
SHAPES = {"path", "circle", "line", "rect", "polyline", "use"}


class Tags(HTMLParser):
    """Collects tags with attributes, and notices tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


def page_of(world: World, *run_ids: str) -> str:
    return Path(write_pack(world.root / "pack", store=world.store, run_ids=run_ids, title="Nightly <2>").report).read_text()


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_page_is_one_balanced_file_without_scripts_and_loads_nothing(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.monitor("look")
    world.retrain("run-2", champion=1)
    page = page_of(world, "run-1", "look", "run-2")
    tags = parsed(page)
    assert (tags.unbalanced, tags.open) == ([], [])
    assert not any(tag in {"script", "link", "iframe", "object"} for tag, _ in tags.seen)
    links = [
        value or "" for _, attributes in tags.seen for name, value in attributes.items() if name in {"src", "href", "srcset", "poster"}
    ]
    assert links
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert not re.search(r"https?://|url\(|@import", page)


def test_every_image_and_chart_has_a_text_and_every_link_a_target(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.monitor("look")
    tags = parsed(page_of(world, "run-1", "look")).seen
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in tags if attributes.get("role") == "img")
    ids = {attributes["id"] for _, attributes in tags if attributes.get("id")}
    assert {(attributes["href"] or "")[1:] for tag, attributes in tags if tag in {"a", "use"}} <= ids


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    world = World(tmp_path, classes=(hostile.replace("/", "∕"), '"><img src=x onerror=y>', "{{ 7*7 }}"))
    world.retrain("run-1", champion=0)
    world.retrain("run-2", champion=1)
    world.monitor("look")
    page = page_of(world, "run-1", "run-2", "look")
    tags = parsed(page)
    assert tags.unbalanced == []
    assert not any(tag == "script" or "onerror" in attributes for tag, attributes in tags.seen)
    assert "&lt;script&gt;alert" in page
    assert "{{ 7*7 }}" in page
    assert "<title>Promoted · Nightly &lt;2&gt; · Sightline</title>" in page


def test_hostile_errors_and_headlines_are_shown_as_text(world: World) -> None:
    world.record("run-1", "ingest", headline="<b>bold</b>")
    world.record("run-1", "train", status="failed", error="bad file <img src=http://x>", exit_code=65)
    page = page_of(world, "run-1")
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<img" not in page
    assert "&lt;img src=http://x&gt;" in page


def test_the_status_is_told_by_word_and_icon_and_not_only_by_colour(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.retrain("run-2", "rejected")
    page = page_of(world, "run-2")
    word = re.search(r'<span class="word">(.*?)</span>', page, re.S)
    assert word
    assert "#i-no" in word.group(1)
    assert word.group(1).endswith("Rejected")


def test_flipped_images_say_truth_and_the_wrong_answer(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.retrain("run-2", champion=1)
    page = page_of(world, "run-2")
    assert "Newly broken" in page
    assert re.search(r'class="caption">(ring|stripes|blob), now (ring|stripes|blob)<', page)
    assert re.search(r'class="caption">(ring|stripes|blob), was (ring|stripes|blob)<', page)


def test_flips_are_told_in_words_when_the_dataset_is_gone(world: World) -> None:
    world.ingest("other")
    world.gate("run-1", "trained")
    page = page_of(world, "run-1")
    assert "No thumbnails: the dataset of this run is not available." in page


def test_the_worst_slice_comes_first(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.retrain("run-2", "rejected")
    page = page_of(world, "run-2")
    table = page[page.index("Slices, the worst first") :]
    assert re.findall(r'<td class="name">([^<\s]+)', table)[:2] == ["light=night", "site=C"]


def section_of(page: str, start: str, end: str) -> str:
    return page[page.index(start) : page.index(end, page.index(start))]


def test_an_override_is_shown_with_name_reason_and_end(world: World) -> None:
    world.change = lambda verdict: waived(verdict, "light=night", who="<b>Ana</b>")
    world.retrain("run-1", champion=0)
    page = page_of(world, "run-1")
    told = section_of(page, '<div class="override"', "</div>")
    assert "&lt;b&gt;Ana&lt;/b&gt;" in told
    assert "valid until 2026-11-30 00:53 UTC: light=night" in told
    assert "<q>the night camera is replaced on &lt;Monday&gt;</q>" in told
    assert "pass by override</span>" in page
    assert re.search(r'<span class="word"><svg.*?#i-pen.*?</svg>Promoted by override</span>', page)
    assert "</svg>promoted by override</span>" in page
    assert "<title>Promoted by override · " in page
    assert parsed(page).unbalanced == []


def test_waived_is_told_by_word_and_icon_and_not_only_by_colour(world: World) -> None:
    world.change = lambda verdict: waived(verdict, "light=night")
    world.retrain("run-1", champion=0)
    page = page_of(world, "run-1")
    row = section_of(page, '<td class="name">light=night', "</tr>")
    assert re.search(r'<span class="chip waived"><svg.*?#i-pen.*?</svg>waived</span>', row)
    style = section_of(page, "<style>", "</style>")
    assert style.count("--waived:") == 2  # light and dark


def test_figures_have_the_unit_of_their_check_and_a_rise_of_an_error_its_margin_on_the_right(world: World) -> None:
    world.ingest("run-1")
    world.change = detection
    world.gate("run-1", "compiled")
    page = page_of(world, "run-1")

    def row(name: str) -> str:
        return section_of(page, f'<td class="name">{name}', "</tr>")

    assert "at most 200\u202fMB" in row("model size")
    assert "0.41\u202fMB" in row("model size")
    assert "0.00042\u202fUSD" in row("cost")
    slower = row("latency against")
    assert "+0.32\u202fms" in slower
    assert "+0.21\u202fms … +0.44\u202fms" in slower
    assert "points" not in slower
    assert '<svg class="ci"' not in slower
    assert "0.931" in row("overall")
    assert "AP</span>" in row("overall")
    (margin,) = re.findall(r'class="margin" x1="([\d.]+)"', row("calibration"))
    assert float(margin) > 75
    (margin,) = re.findall(r'class="margin" x1="([\d.]+)"', row("overall"))
    assert 40 < float(margin) < 75  # what was found by looking does not stretch the scale


def test_what_was_found_by_looking_is_in_no_table(world: World) -> None:
    world.ingest("run-1")
    world.change = detection
    world.gate("run-1", "trained")
    page = page_of(world, "run-1")
    assert '<td class="name">weight' not in page
    assert "1 weak spot found by searching, never judged" in page
    assert "<li>weight &gt; 3: 0.200 (−50.0 points), 44 images</li>" in page


def test_the_gate_tells_the_attempt_the_level_wrong_cases_and_errors_that_grew(world: World) -> None:
    world.ingest("run-1")
    world.change = detection
    world.gate("run-1", "trained")
    page = page_of(world, "run-1")
    assert "look 4 at this golden set · attempt 3 in the alpha ledger · α of this look 1.2\u202f%" in page
    assert "1 of 2 wrong." in page
    assert "<code>a.png</code>: missed instead of no error" in page
    assert "<li>missed: 12 → 19</li>" in page
    assert "duplicate: 9" not in page


def test_judged_variants_are_a_table_and_without_them_there_is_none(world: World) -> None:
    world.retrain("run-1", champion=0)
    assert "Accuracy of every variant" not in page_of(world, "run-1")
    world.gate_files = {"variants.json": variants_file()}
    world.retrain("run-2", champion=1)
    page = page_of(world, "run-2")
    table = section_of(page, "Accuracy of every variant, on the slices where one loses most", "</table>")
    assert re.findall(r'<td class="name">([^<]+)', table)[:3] == ["overall", "site=10", "site=9"]
    assert "unavailable: no NVIDIA GPU" in table
    assert "−11.0" in table
    assert parsed(page).unbalanced == []


def test_a_rolled_back_run_opens_with_its_canary_and_a_drill_is_called_one(world: World) -> None:
    world.retrain("run-1", "rolled-back", champion=0)
    page = page_of(world, "run-1")
    assert re.findall(r'<a href="#(\w+)">', page)[0] == "canary"
    assert "This was a rollback drill" in page
    assert "1 wrong golden answer<" in page


def test_a_look_at_drift_shows_each_signal_with_its_histogram(world: World) -> None:
    world.monitor("look")
    page = page_of(world, "look")
    assert re.findall(r'<a href="#(\w+)">', page)[0] == "drift"
    assert page.count('aria-label="Histogram of') == 7
    assert page.count("</svg>drifted</span>") == 3
    assert ">Accuracy<" not in page


def test_the_page_stays_below_three_megabytes_with_many_large_images(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.retrain("run-1", champion=0)
    world.retrain("run-2", champion=1)
    full = page_of(world, "run-1", "run-2")
    without = re.sub(r"data:image/jpeg;base64,[^\"]+", "", full)
    assert len(without) + BUDGET_BYTES < 3_000_000


def test_thumbnails_stop_at_their_budget() -> None:
    noise = np.random.default_rng(5).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    thumbnails = Thumbnails(budget_bytes=60_000)
    made = [thumbnails.make(noise, "noise") for _ in range(20)]
    shown = [image for image in made if image]
    assert 0 < len(shown) < 20
    assert sum(len(image.uri) for image in shown) <= 60_000
    assert made[len(shown) :] == [None] * (20 - len(shown))
