"""The dashboard in Debian's Chromium, over a workspace that a real build made: what users do, and what must not be."""

import json
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from browser_pages import PATIENCE, needs_chromium, see, settled
from dashboard_site import HOSTILE, POLICY, dashboard, make_workspace
from playwright.sync_api import Locator, Page, expect

from catalog.alignment_sets import AlignmentSet
from catalog.choices import read_choices, read_history
from catalog.decisions import decide
from catalog.policies import Policy
from catalog.review_labels import find_decision, reviews_path
from catalog.workspace import Workspace
from evaluation.metric_names import to_paper_scale
from evaluation.reports import is_control
from infra.dashboard.data_thresholds import policy_file, with_limits
from infra.dashboard.server import PAGES

BUILD = "build-ieiw"

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, str]]:
    workspace = make_workspace(tmp_path_factory.mktemp("dashboard"))
    with dashboard(workspace.home) as (url, _):
        yield workspace, url


def fact(page: Page, name: str) -> Locator:
    return page.locator(".tile", has=page.locator(f'.name:text-is("{name}")')).locator(".value")


def cells(page: Page, first: str) -> Locator:
    """The cells of a table's line, by its first one."""
    name = page.locator("td:first-child", has_text=re.compile(f"^{re.escape(first)}$"))
    return page.locator("tr", has=name).first.locator("td")


_OUTSIDE = """() => {
  const found = [];
  const scrolls = (one) => ["auto", "scroll"].includes(getComputedStyle(one).overflowX);
  const walk = (root) => {
    for (const one of root.children) {
      const { right, width } = one.getBoundingClientRect();
      if (width && right > innerWidth + 0.5) found.push(`${one.tagName} ${one.className} to ${right}`);
      if (scrolls(one)) continue;
      walk(one);
      if (one.shadowRoot) walk(one.shadowRoot);
    }
  };
  walk(document.querySelector('[data-testid="stMain"]'));
  return found;
}"""
"""What reaches beyond the window's right edge, but for what tables and code hold, which scroll by themselves. The
document is never wider than the window: `stMain` scrolls in its place."""


def outside(page: Page) -> list[str]:
    """What does not fit, once charts have had time to take their new width."""
    found: list[str] = page.evaluate(_OUTSIDE)
    for _ in range(20):
        if not found:
            break
        page.wait_for_timeout(250)
        found = page.evaluate(_OUTSIDE)
    return found


def test_every_page_shows_its_tables_at_both_widths(site, open_page):
    _, url = site
    shown = {
        "data": "Survival",
        "mix": "Beside the paper's table 1",
        "training": "Sample pictures",
        "evaluation": "Best and worst",
        "choose": "Give your name first",
        "confirm": "nothing to confirm yet",
        "runs": "Flow runs",
    }
    page = open_page(url)
    for name in PAGES:
        page.goto(f"{url}/{name}")
        see(page, shown[name]) if name != "runs" else see(page, re.compile("The ledger is empty|Flow runs"))
        settled(page)
        assert page.get_by_text("This cannot be shown").count() == 0
        page.set_viewport_size({"width": 390, "height": 844})
        settled(page)
        assert outside(page) == [], name
        page.set_viewport_size({"width": 1440, "height": 1000})
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator('[data-testid="stMainBlockContainer"] h1').evaluate("head => head.style.width = '600px'")
    assert outside(page)  # it would have been seen


@pytest.mark.parametrize(
    "address", ["nope", "data/more", "mix.html", "data/v1.2", "%3Cimg%20src%3Dx%20onerror%3Dhit()%3E"]
)
def test_an_address_that_is_no_pages_says_so(site, open_page, address):
    _, url = site
    page = open_page(f"{url}/{address}?view=browse")
    see(page, "There is no such page.")
    see(page, f"/{urllib.parse.unquote(address)}: this is Data; the others are Mix, Training, Evaluation, Choose")
    see(page, "Survival")
    assert page.evaluate("window.hit") is None
    page.goto(f"{url}/mix")
    see(page, "Beside the paper's table 1")
    expect(page.get_by_text("There is no such page.")).to_have_count(0)


def test_a_table_that_is_too_wide_says_that_it_scrolls(site, open_page):
    _, url = site
    page = open_page(f"{url}/data")
    see(page, "By kind")
    table = page.locator(".scroll").first
    hint = page.locator(".hint").first
    expect(hint).to_be_hidden()
    assert table.get_attribute("tabindex") is None
    page.set_viewport_size({"width": 390, "height": 844})
    expect(hint).to_be_visible(timeout=PATIENCE)
    expect(table).to_have_class("scroll after")
    assert "2.5rem" in table.evaluate("one => getComputedStyle(one).getPropertyValue('--after')")
    table.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    expect(table).to_have_class("scroll before", timeout=PATIENCE)  # nothing is left on the right
    expect(page.get_by_role("region", name="table, scrolls sideways").first).to_be_visible()
    page.set_viewport_size({"width": 1440, "height": 1000})
    expect(table).to_have_class("scroll", timeout=PATIENCE)
    expect(hint).to_be_hidden()


def test_survival_is_what_decide_says_and_sql_gives(site, open_page):
    workspace, url = site
    decision = decide(workspace, BUILD, Policy.read(POLICY))
    page = settled(open_page(f"{url}/data"))
    expect(fact(page, "Accepted")).to_have_text(f"{decision.num_accepted:,}", timeout=PATIENCE)
    for stage in decision.waterfall[1:]:
        line = page.locator(f'.row[data-name="{stage.name}"]')
        expect(line.locator(".number")).to_have_text(f"{stage.remaining:,}")
        expect(line.locator(".note")).to_have_text(f"−{stage.removed:,}")
    page.get_by_text("Show SQL").first.click()
    see(page, "coalesce(bool_or(score IS NOT NULL), false) AS by_policy")
    statements = page.locator('[data-testid="stCode"] code').all_inner_texts()
    removed = _run_statement(next(one for one in statements if "by_policy" in one))
    assert {row[0]: row[2] for row in removed if row[0]} == {
        stage.name: stage.removed for stage in decision.waterfall[1:] if stage.removed
    }


def test_browse_filter_open_compare_explain(site, open_page):
    workspace, url = site
    page = settled(open_page(f"{url}/data"))
    page.locator('.row[data-name="low_target_aesthetic"]').click()
    removed = {stage.name: stage.removed for stage in decide(workspace, BUILD, Policy.read(POLICY)).waterfall}
    see(page, f"{removed['low_target_aesthetic']} pairs", exact=False)
    assert "low" in urllib.parse.unquote(page.url)
    page.goto(f"{url}/data?view=browse&dataset=synthetic&edit_type=object_removal")
    settled(page)
    sql = "SELECT count(*) FROM read_parquet($files) WHERE dataset = 'synthetic' AND edit_type = 'object_removal'"
    files = [str(path) for path in find_decision(workspace, BUILD, "embedded").paths(workspace, "verdicts")]
    see(page, f"{duckdb.execute(sql, {'files': files}).fetchall()[0][0]} pairs")
    card = page.locator(".card").first
    pair_id = card.get_attribute("data-id")
    card.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.className") == "card"
    card.click()
    see(page, "Back to the pairs")
    assert pair_id in page.url
    divider = page.get_by_role("slider", name=re.compile("source to the left"))
    divider.focus()
    before = page.locator(".after").get_attribute("style")
    page.keyboard.press("ArrowRight")
    assert page.locator(".after").get_attribute("style") != before
    page.get_by_label("change mask").check()
    expect(page.locator("img.layer").first).to_be_visible()
    page.get_by_text("Explain:").click()
    see(page, re.compile("backends +"))
    page.reload()
    see(page, "Back to the pairs")


def test_hostile_words_stay_words(site, open_page):
    _, url = site
    page = settled(open_page(f"{url}/data?view=browse&dataset=pairs"))
    see(page, HOSTILE)
    page.locator(".card").first.click()
    see(page, "Back to the pairs")
    page.get_by_text("Explain:").click()
    see(page, re.compile("licence not given"))
    see(page, HOSTILE)
    page.goto(f"{url}/data?view=browse&words=%3Cscript%3E")
    see(page, HOSTILE)
    page.goto(f"{url}/data?view=browse&pair=%3Cimg%20src%3Dx%20onerror%3Dhit()%3E")
    see(page, "There is no such pair")
    assert page.evaluate("window.hit") is None
    assert page.locator("img[src='x']").count() == 0


def test_a_dragged_threshold_shows_what_decide_would_give(site, open_page, tmp_path):
    workspace, url = site
    page = settled(open_page(f"{url}/data?view=thresholds"))
    slider = page.get_by_role("slider", name="threshold of low_target_aesthetic")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 70, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile("limits="))
    _check_counts(workspace, page, tmp_path)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("before => location.href !== before", arg=page.url)
    _check_counts(workspace, page, tmp_path)
    page.get_by_role("button", name="Back to the decision on record").click()
    expect(fact(page, "Change")).to_have_text("+0", timeout=PATIENCE)


def _check_counts(workspace: Workspace, page: Page, folder: Path) -> None:
    limits = json.loads(urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).query)["limits"][0])
    path = folder / "dragged.toml"
    path.write_text(policy_file(with_limits(Policy.read(POLICY), limits)))  # what the page offers to keep
    decision = decide(workspace, BUILD, Policy.read(path), on_record=False)
    expect(fact(page, "Would be accepted")).to_have_text(f"{decision.num_accepted:,}", timeout=PATIENCE)
    for stage in decision.waterfall[1:]:
        expect(cells(page, stage.name).nth(4)).to_have_text(f"{stage.removed:,}", timeout=PATIENCE)


def test_two_people_label_and_nothing_is_lost(site, open_page):
    workspace, url = site
    pages = [open_page(f"{url}/data?view=review{name}") for name in ("&person=anna", "")]
    settled(pages[1]).get_by_label("Your name").fill("bernd")
    pages[1].keyboard.press("Enter")
    pages[1].wait_for_url(re.compile("person=bernd"))
    for page in pages:
        settled(page)
        see(page, re.compile("^Good"))
    shown = [_shown_pair(page) for page in pages]
    assert shown[0] == shown[1]  # everybody goes the same way
    pages[0].keyboard.press("g")
    expect(pages[1].get_by_role("button", name="Bad")).to_be_enabled()
    pages[1].keyboard.press("b")  # typing his name has ended
    for page in pages:
        expect(page.get_by_text(shown[0], exact=True)).to_have_count(0, timeout=PATIENCE)
    pages[0].get_by_role("button", name="Good").click()
    second = _shown_pair(pages[1])
    expect(pages[0].get_by_text(second, exact=True)).to_have_count(0, timeout=PATIENCE)
    pages[0].reload()
    settled(pages[0])
    lines = [json.loads(line) for line in reviews_path(workspace, BUILD).read_text().splitlines()]
    assert [(one["person"], one["answer"]) for one in lines].count(("anna", "good")) == 2
    assert sorted({(one["person"], one["pair_id"]) for one in lines}) == sorted(
        [("anna", shown[0]), ("anna", second), ("bernd", shown[0])]
    )
    see(pages[0], "2.5 to 100.0 %")  # Clopper and Pearson for one of one; the pair on which they differ has no vote
    assert cells(pages[0], "accepted").all_inner_texts()[-3:] == ["1", "1", "2"]


def _shown_pair(page: Page) -> str:
    return see(page, re.compile("^[0-9a-f]{32}$")).inner_text()


def test_choices_are_blind_kept_and_counted(site, open_page):
    workspace, url = site
    alignment = AlignmentSet.read(workspace, "small")
    pages = [open_page(f"{url}/choose?person={name}") for name in ("carla", "bernd")]
    for page in pages:
        see(page, "remove <b>bird</b> number 0")
    pages[0].get_by_role("button", name="variant 1").focus()
    for key, place in {"ArrowRight": 2, "ArrowLeft": 1, "ArrowUp": 1}.items():
        pages[0].keyboard.press(key)
        expect(pages[0].get_by_role("button", name=f"variant {place}")).to_be_focused()
    pages[0].get_by_role("button", name="variant 2").click()
    expect(pages[0].get_by_role("button", name="Save this choice")).to_be_enabled()
    pages[0].get_by_label("Your name").fill("anna")
    pages[0].keyboard.press("Enter")
    pages[0].wait_for_url(re.compile("person=anna"))
    expect(pages[0].get_by_role("button", name="Save this choice")).to_be_disabled()  # what Carla picked is hers
    _leave_and_return(pages[0])
    for place in (1, 4):
        pages[0].get_by_role("button", name=f"variant {place}").click()
    pages[0].get_by_role("button", name="Save these 2").click()
    pages[1].get_by_role("button", name="None is good").click()
    for page in pages:
        see(page, "remove <b>bird</b> number 1")
        page.reload()
        see(page, "1 of 2 answered")
    found = {one.person: one.variants for one in read_choices(alignment) if one.item_id == "item-0"}
    order = [one.number for one in alignment.blind_order("anna", "item-0")]
    assert found == {"anna": tuple(sorted((order[0], order[3]))), "bernd": ()}
    see(pages[0], "Agreement on variants")
    _revise(alignment, pages[0], order)


def _leave_and_return(page: Page) -> None:
    """A pick that was not saved says so, and is there when its person comes back to the item."""
    variant = page.get_by_role("button", name="variant 3")
    variant.click()
    see(page, "Not saved yet.")
    page.get_by_role("button", name="Next item").click()
    see(page, "Item 2 of 2: open.")
    expect(variant).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Previous item").click()
    see(page, "Item 1 of 2: open.")
    expect(variant).to_have_attribute("aria-pressed", "true")
    variant.click()
    expect(page.get_by_text("Not saved yet.")).to_have_count(0)


def _revise(alignment: AlignmentSet, page: Page, order: list[int]) -> None:
    """Anna answers the last item, goes back, and gives her first answer again."""
    page.get_by_role("button", name="None is good").click()
    see(page, "You have answered for every item of this set")
    page.get_by_role("button", name="Look through your answers").click()
    see(settled(page), "Item 1 of 2: you chose variants 1 and 4.")
    for place in (1, 4):
        expect(page.get_by_role("button", name=f"variant {place}")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="variant 1").click()
    page.get_by_role("button", name="Save this choice").click()
    see(page, "Item 2 of 2: you answered that none is good.")
    page.get_by_role("button", name="Previous item").click()
    see(page, "Item 1 of 2: you chose variant 4.")
    expect(page.get_by_role("button", name="variant 1")).to_have_attribute("aria-pressed", "false")
    given = [one for one in read_history(alignment, "anna") if one.item_id == "item-0"]
    assert [(one.number, one.variants) for one in given] == [(1, tuple(sorted((order[0], order[3])))), (2, (order[3],))]
    assert [one.variants for one in read_choices(alignment, "anna")] == [(order[3],), ()]


def test_two_evaluations_beside_each_other(site, open_page):
    workspace, url = site
    page = settled(open_page(f"{url}/evaluation?first=oracle/evaluation&second=no-op/evaluation"))
    rows = {
        name: {
            (row["benchmark"], row["metric"]): row
            for row in pq.read_table(workspace.runs / name / "evaluation" / "metrics.parquet").to_pylist()
        }
        for name in ("oracle", "no-op")
    }
    page.locator("tbody tr").first.wait_for()
    lines = page.locator("tbody tr").all()
    assert len(lines) == sum(not is_control(benchmark) for benchmark, _ in rows["oracle"])
    for line in lines:
        texts = line.locator("td").all_inner_texts()
        key = texts[0], texts[1].replace(" ", "_")
        for text, name in ((texts[2], "oracle"), (texts[4], "no-op")):
            value = rows[name][key]["value"]
            assert text == ("–" if value is None else f"{to_paper_scale(key[1], value):.2f}"), key
    page.locator(".card").first.wait_for()
    see(page, "Worst")


def test_text_is_readable_in_the_dark(site, open_page):
    _, url = site
    page = settled(open_page(f"{url}/data", color_scheme="dark"))
    see(page, "Survival")
    ink_color = page.locator(".bars").evaluate("bars => getComputedStyle(bars).color")
    paper_color = page.locator(".stApp").evaluate("app => getComputedStyle(app).backgroundColor")
    colors = ink_color, paper_color
    ink, paper = (sum(int(part) for part in re.findall(r"\d+", color)[:3]) for color in colors)
    assert ink - paper > 400, colors


def test_roots_that_hold_nothing_half_or_torn_things_say_so(site, open_page, tmp_path):
    """The last test: it takes the workspace apart, puts it back piece by piece, and damages it."""
    workspace, url = site
    home, aside = workspace.home, tmp_path / "aside"
    aside.mkdir()
    for folder in ("catalog", "data", "runs"):
        (home / folder).rename(aside / folder)
    page = open_page(f"{url}/data")
    see(page, "Nothing has been built here yet")
    see(page, "make demo")
    for name, text in {
        "mix": "There is no mix yet",
        "training": "No model has been trained",
        "evaluation": "Nothing has been evaluated",
        "choose": "nothing to choose from yet",
        "confirm": "nothing to confirm yet",
        "runs": "The ledger is empty",
    }.items():
        page.goto(f"{url}/{name}")
        see(page, text)
    shutil.copytree(aside / "catalog" / "tables", home / "catalog" / "tables")  # no manifest: the build is under way
    page.goto(f"{url}/data")
    see(page, "A build is under way, or was stopped")
    shutil.copytree(aside / "catalog" / "manifests", home / "catalog" / "manifests")
    (aside / "runs").rename(home / "runs")
    page.goto(f"{url}/data")
    see(page, "Survival")
    for path in find_decision(workspace, BUILD, "embedded").paths(workspace, "verdicts"):
        _cut(path)
    (home / "catalog" / "mix.parquet").write_bytes(b"PAR1 half")
    for path in [*home.glob("runs/*/training_log.parquet"), *home.glob("runs/*/evaluation/metrics.parquet")]:
        _cut(path)
    (home / "catalog" / "manifests" / "other.json").write_text('{"name": "oth')
    page.goto(f"{url}/data")
    see(page, "This cannot be shown")
    see(page, "A manifest cannot be read")
    page.goto(f"{url}/mix")
    see(page, "A file in the catalog cannot be read")
    page.goto(f"{url}/training")
    see(page, "cannot be read")
    page.goto(f"{url}/evaluation")
    see(page, "An evaluation cannot be read")
    assert page.get_by_text("Traceback").count() == 0


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _run_statement(statement: str) -> list[tuple[Any, ...]]:
    """What the corner's text gives, pasted into DuckDB."""
    with duckdb.connect() as connection:
        for part in statement.split(";"):
            if part.strip():
                connection.execute(part)
        return connection.fetchall()
