"""The built site works from a disk, without a network: `make docs` builds it. SIMATTN_SITE names another folder of it."""

import inspect
import json
import os
import runpy
import shutil
import sys
import urllib.parse
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(os.environ.get("SIMATTN_SITE", ROOT / "build" / "site" / "html"))
SCRIPTS = ROOT / "scripts"
HERE = {"about", "blob", "data", "devtools"}  # schemes that ask nobody

built = pytest.mark.skipif(not (SITE / "index.html").is_file(), reason=f"{SITE} is not built; run `make docs`")


def script(name):
    """A module of scripts/, which import one another by name."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return runpy.run_path(str(SCRIPTS / f"{name}.py"))
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium that notes its console and every request."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed; `pip install --group test`")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("there is no Chromium with its chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
        "--disable-background-networking",
    ):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    opened.set_page_load_timeout(60)
    opened.get("about:blank")
    opened.get_log("performance")  # of the browser's own first page
    yield opened
    opened.quit()


def visit(browser, page):
    """Open a page of the site from the disk: the messages of its console that are errors, and the requests that leave this computer."""
    browser.get((SITE / page).as_uri())
    requests = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in requests if event["method"] == "Network.requestWillBeSent"]
    parsed = [urllib.parse.urlsplit(url) for url in urls]
    away = [p.geturl() for p in parsed if p.scheme not in {*HERE, "file"} and p.hostname not in {"localhost", "127.0.0.1"}]
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert urls, f"no request was noted for {page}"
    return errors, away


def pages():
    """The pages that people read; those of source text are alike, so one of them stands for all."""
    found = sorted(page.relative_to(SITE).as_posix() for page in SITE.rglob("*.html"))
    sources = [page for page in found if page.startswith("_modules/simattn")]
    return [page for page in found if not page.startswith("_modules/")] + sources[:1]


@built
def test_no_page_logs_an_error_or_asks_another_host(browser):
    """Each page opens from the disk without an error in the console, and nothing is requested but files."""
    assert len(pages()) > 30
    for page in pages():
        errors, away = visit(browser, page)
        assert not errors, f"{page}: {errors}"
        assert not away, f"{page} requests {away}"


@built
def test_formulas_are_drawn(browser):
    """The MathJax that lies beside the pages draws the formula of the front page, and no TeX is left to read."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    visit(browser, "index.html")
    WebDriverWait(browser, 20).until(lambda browser: browser.find_elements(By.CSS_SELECTOR, "mjx-container svg path"))
    assert "operatorname" not in browser.find_element(By.TAG_NAME, "article").text


@built
def test_the_front_page_holds_the_explorer(browser):
    """The explorer on the front page names both algorithms, and there is a link to it alone."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    visit(browser, "index.html")
    assert browser.find_element(By.LINK_TEXT, "The explorer on a page of its own")
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe.explorer"))
    WebDriverWait(browser, 20).until(lambda browser: "naive and flash2" in browser.find_element(By.TAG_NAME, "body").text)
    browser.switch_to.default_content()


@built
def test_the_search_finds_a_word_from_the_disk(browser):
    """The site's search, which has no server, finds the pages on softmax."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get((SITE / "search.html").as_uri() + "?q=softmax")
    WebDriverWait(browser, 20).until(lambda browser: len(browser.find_elements(By.CSS_SELECTOR, "#search-results li a")) > 3)


@built
def test_links_of_the_site_lead_somewhere():
    """Every link between pages leads to a page and a place that exist, and no page loads a file from another host."""
    assert script("site_links")["problems"](SITE) == []


def test_broken_links_are_found(tmp_path):
    """A link to no page, a link to no place, and a script of another host are each told."""
    (tmp_path / "b.html").write_text('<h1 id="here">B</h1>', encoding="utf-8")
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"></a><a href="b.html#there"></a><a href="c.html"></a><script src="https://cdn.example/x.js"></script>',
        encoding="utf-8",
    )
    found = script("site_links")["problems"](tmp_path)
    assert sorted(line.split(" ", 1)[1] for line in found) == [
        "links to b.html#there, but b.html has no such place",
        "links to c.html, which does not exist",
        "loads https://cdn.example/x.js",
    ]


def test_the_cheat_sheet_has_every_word_and_what_it_costs():
    """The formulas of the sheet are what DESIGN and docs/counting.md say: of a load, a product, an exponential and a row sum."""
    rows = [line for line in script("site_words")["sheet"]().splitlines() if line.startswith("| `")]
    assert len(rows) > 15
    assert "| `sram.load(X[i])` | b·mn |  |  | b·mn |  | b·mn |" in rows
    assert "| `x @ z` | b·mn + b·nk | a·mk | 2mnk | a·mk |" in rows
    assert "| `np.exp(x)`, `np.exp2(x)`, `np.log(x)`, `np.tanh(x)` | b·mn | b·mn | mn |" in rows


def test_every_public_name_has_its_page_in_the_reference():
    """Each name of `sa`, and each of the packages in it, is described once."""
    import simattn as sa

    text = "\n".join(script("site_api")["pages"]().values())
    for name in sa.__all__:
        found = getattr(sa, name)
        for path in (f"{name}.{inner}" for inner in found.__all__) if inspect.ismodule(found) else (name,):
            assert text.count(f":: simattn.{path}\n") == 1, path


def test_the_papers_that_are_cited_are_listed():
    """The page of sources lists every paper that the package or its documents cite."""
    page = (ROOT / "docs" / "site" / "sources.md").read_text(encoding="utf-8")
    claims = script("site_claims")["table"]().splitlines()[2:]
    assert len(claims) >= 32
    assert sum("arXiv" in claim for claim in claims) > 3
    assert script("site_claims")["uncited"](page, ROOT / "simattn") == set()
