"""The page as a browser lays it out: headless Chromium, in light and dark, wide and narrow."""

import html
import json
import shutil
import subprocess

import pytest

from drift_results import a_drift, over_time
from pages import parse

pytestmark = pytest.mark.host

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
POLICY = '<meta http-equiv="Content-Security-Policy"'

# Frames of several widths, and what a browser makes of the page in each: how far it reaches beyond
# the screen, the least contrast of its text, the boxes of its rows.
PROBE = """<!DOCTYPE html><meta charset="utf-8"><body>%s<script>
function numbers(colour) { return colour.match(/[\\d.]+/g).map(Number); }
function luminance(colour) {
  const [r, g, b] = numbers(colour).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
function look(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
  const paper = view.getComputedStyle(page.body).backgroundColor;
  const walk = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  let least = 21, texts = 0;
  for (let node; node = walk.nextNode();) {
    if (!node.data.trim() || node.parentElement.tagName === "title") continue;
    const style = view.getComputedStyle(node.parentElement);
    const paint = node.parentElement.tagName === "text" ? style.fill : style.color;
    least = Math.min(least, contrast(paint, paper));
    texts += 1;
  }
  const boxes = [...page.querySelectorAll("tbody tr > *")].map(e => e.getBoundingClientRect());
  const labels = [...page.querySelectorAll("svg text")].map(e => e.getBoundingClientRect());
  return {
    beyond: root.scrollWidth - root.clientWidth, least, texts, dark: luminance(paper) < 0.5,
    widest: Math.max(...boxes.map(box => box.right)),
    smallest: Math.min(...labels.map(box => box.height)),
    side_by_side: boxes[0].top === boxes[1].top,
  };
}
onload = () => {
  document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
};
</script>"""
WIDTHS = (1200, 800, 600, 360)


def dom(path, folder, *options):
    """The elements of a page once it is shown, as text."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-dev-shm-usage", "--disable-background-networking"]
    command += [f"--user-data-dir={folder}/profile"]
    command += [*options, "--virtual-time-budget=2000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


@pytest.fixture(autouse=True)
def _browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_legible_at_every_width(scheme, tmp_path):
    levels = ["Berlin", "Frankfurt am Main", "<b>", "東京都千代田区永田町", "missing"]
    long = "a_column_whose_name_goes_on_without_a_space_" * 2
    pages = [
        a_drift([long, "city", "day", "vip"], levels=levels, warnings=[long]).to_html(),
        over_time([f"2024-W{i:02d}" for i in range(1, 53)]).to_html(),
    ]
    frames = [
        f'<iframe width="{width}" height="900" srcdoc="{html.escape(page)}"></iframe>'
        for page in (page.replace(POLICY, "<meta") for page in pages)  # the probe has to run
        for width in WIDTHS
    ]
    path = tmp_path / "probe.html"
    path.write_text(PROBE % "\n".join(frames), encoding="utf-8")
    chosen = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    shown = parse(dom(path, tmp_path, chosen)).all("title")[0].text
    found = json.loads(shown)
    assert len(found) == 2 * len(WIDTHS)
    for look, width in zip(found, 2 * WIDTHS, strict=True):
        assert look["dark"] == (scheme == "dark")
        assert look["beyond"] == 0, width
        assert look["widest"] <= width
        assert look["texts"] > 50
        assert look["least"] >= 4.5
        assert look["side_by_side"] == (width > 704)
        assert look["smallest"] >= 9


def test_nothing_in_a_name_is_run(tmp_path):
    """And the browser sees the same elements that were written."""
    run = "<script>document.title = 'run'</script>"
    names = [run, "</style><img src=x onerror=\"document.title='run'\">", f"</title></svg>{run}"]
    page = a_drift(names, levels=names, labels=names, warnings=names).to_html()
    path = tmp_path / "report.html"
    for text in (page, page.replace(POLICY, "<meta")):  # escaping and policy each suffice
        path.write_text(text, encoding="utf-8")
        shown = dom(path, tmp_path)
        root = parse(shown)
        assert root.one("head").one("title").text == "Drift found · pairtile"
        assert not root.all("script") + root.all("img")
        heads = [e.text for e in root["rows"].one("tbody").all("th")]
        assert heads == names
        assert [e.tag for e in root] == [e.tag for e in parse(text)]
