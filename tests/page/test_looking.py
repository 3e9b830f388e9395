"""How the page looks, to eyes and to screen readers; and that no text can make it do harm."""

import json
import threading

import pytest

from tests.page.conftest import PHONE, WIDE, ask, expect, finished
from tests.support.page_server import PageServer, Scripted, ending, piece, said, stage

pytestmark = pytest.mark.browser

RICH = """# A title

Some *text* with `code`, [a link](https://example.org/) and $E = mc^2$, which costs $5 or $6.

$$\\int_0^1 x\\,dx = \\color{red}{\\tfrac12}$$

| node | layers and everything else that makes a table very wide indeed | memory |
| --- | --- | --- |
| pi1 | 0 | 1 |

- [x] one
- two

```python
a_very_long_line_of_code = "that is certainly wider than a phone" + "is ever to be"
```

> Quoted
"""
HOSTILE = [
    "<script>window.harm = 1</script>",
    '<img src=x onerror="window.harm = 1">',
    "[click](javascript:window.harm=1)",
    "[click](JaVaScRiPt&colon;window.harm=1)",
    "<a href='data:text/html,<script>harm=1</script>'>x</a>",
    "```\n</code></pre><script>window.harm = 1</script>\n```",
    "</script><script>window.harm = 1</script>",
    '<svg onload="window.harm = 1"><animate onbegin="window.harm = 1"/></svg>',
    "<style>body { display: none }</style><p style='position: fixed'>over all</p>",
    "<iframe srcdoc='<script>parent.harm = 1</script>'></iframe>",
    "<form action='https://example.org'><input name=key></form><base href='https://example.org'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src onerror=harm=1>'>",
    "![picture](https://example.org/track.png) <img src='https://example.org/track.png'>",
    "$\\href{javascript:window.harm=1}{x}$ $\\htmlData{x=y}{z}$ $\\fcolorbox{red}{blue}{a}$",
    "$\\text{<img src=x onerror=harm=1>}$ $\\def\\a{\\a\\a}\\a$",
    "\\[\\includegraphics{https://example.org/x}\\]",
    "<div id='question' name='send' class='failure'>posing</div>",
    "`<b onmouseover=harm=1>` **<u onclick=harm=1>x</u>**",
    "| <i onclick=harm=1> |\n| --- |\n| x |",
]


@pytest.fixture(scope="module")
def shown(browser):
    """The page with a rich answer, for tests that only look."""
    script = Scripted(frames=[piece("Hm.", "reasoning_content"), *said(RICH)])
    with PageServer(script) as serving:
        yield serving


def rich_page(visit, server, **options):
    page = visit(server.port, **options)
    ask(page, "Show me everything")
    finished(page)
    page.wait_for_selector("math[display=block]")
    page.wait_for_selector("p math:not([display])")
    page.locator("#messages").get_by_text(", which costs $5 or $6.").wait_for()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing(visit, shown, axe, scheme, size):
    page = rich_page(visit, shown, size=size, color_scheme=scheme, reduced_motion="reduce")
    # The policy lets no script in but the page's own; playwright evaluates past it.
    assert violations(page, axe) == {}
    page.locator("#open-settings").click()
    page.wait_for_selector("dialog[open]")
    assert violations(page, axe) == {}
    page.keyboard.press("Escape")
    if size is PHONE:
        page.locator("#open-conversations").click()
        page.wait_for_selector("#conversations.open")
        assert violations(page, axe) == {}
    page.get_by_role("button", name="As a table").click(force=True)
    assert violations(page, axe) == {}


def violations(page, axe):
    page.evaluate(axe)
    found = page.evaluate("axe.run().then((result) => result.violations)")
    return {one["id"]: json.dumps([node["html"] for node in one["nodes"]]) for one in found}


def test_a_phone_shows_all_of_it_without_scrolling_sideways(visit, shown):
    page = rich_page(visit, shown, size=PHONE)
    for scrolled in ("document.documentElement", "document.querySelector('#messages')"):
        wide, shown_px = page.evaluate(f"[{scrolled}.scrollWidth, {scrolled}.clientWidth]")
        assert wide <= shown_px <= 360
    assert not page.locator("#conversations").is_visible()
    page.locator("#open-conversations").click()
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_selector("#messages.empty")
    page.locator("#conversations").wait_for(state="hidden")
    for name in ("#question", "#send", "#open-settings", "#toggle-theme", "#toggle-cluster"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360, name


def test_colours_follow_the_system_until_they_are_chosen(visit, shown):
    ground = "getComputedStyle(document.body).backgroundColor"
    page = visit(shown.port, color_scheme="dark")
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Colours: Auto").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    page.wait_for_selector("#cluster:not([hidden]) .node")
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Colours: Light").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == dark


def test_no_answer_does_harm(visit, server, script):
    script.frames = [frame for text in HOSTILE for frame in (piece(text), piece("\n\n"))]
    script.frames += ending()
    page = visit(server.port)
    ask(page, HOSTILE[0] + HOSTILE[1])
    finished(page)
    page.wait_for_selector(".markdown math")
    for reloaded in (False, True):
        if reloaded:
            page.reload()
            page.wait_for_selector(".markdown math")
        assert page.evaluate("window.harm") is None
        assert (
            page.locator("#messages :is(script, style, img, iframe, form, svg, base)").count() == 0
        )
        links = page.locator("#messages a").evaluate_all("all => all.map((a) => a.href)")
        assert all(link.startswith(("https://", "")) and "script" not in link for link in links)
        assert page.locator("[id=question]").count() == 1
        harmful = (
            "[...document.querySelectorAll('#messages *')].flatMap((one) => [...one.attributes])"
        )
        named = page.evaluate(f"{harmful}.map(({{name}}) => name)")
        assert not [name for name in named if name.startswith("on") or name == "style"]


def test_the_cluster_is_drawn_with_what_is_true_of_it(visit, server, script):
    page = visit(server.port)
    drawing = page.locator(".drawing")
    assert drawing.locator(".name").all_text_contents() == ["pi1", "pi2", "pi3"]
    assert drawing.locator(".layers").first.text_content() == "layers 0–9"
    assert page.locator(".summary").inner_text().startswith("1 running · 2 waiting")
    page.wait_for_selector(".token.made", state="attached")
    rows = page.locator("#cluster tbody tr")
    assert rows.first.inner_text().split("\t") == [
        *("pi1", "layers 0–9", "busy", "62 %", "61 °C", "2.0 of 4.0 GiB"),
    ]
    why = "it has not answered for 9 s"
    script.stages = [stage("pi1", 0), stage("pi2", 10, is_well=False, state="lost", why=why)]
    script.note = "pi2 is asked again and again"
    page.wait_for_selector(".node.unwell")
    assert drawing.locator(".trouble").text_content() == "✕ lost"
    assert "pi2 is lost" in drawing.get_attribute("aria-label")
    assert page.get_by_text(script.note).is_visible()
    assert f"lost: {why}" in rows.nth(1).inner_text()
    page.locator("#toggle-cluster").click()
    assert not drawing.is_visible()


def test_figures_that_are_not_known_are_not_made_up(visit, server, script):
    unknown = dict.fromkeys(("load", "temperature_c", "memory_bytes", "free_memory_bytes"))
    script.stages = [stage("pi1", 0, **unknown)]
    page = visit(server.port)
    row = page.locator("#cluster tbody tr").first.inner_text().split("\t")
    assert row[3:] == ["not known"] * 3
    assert page.locator(".drawing .figure").count() == 0


def test_who_wants_no_motion_gets_none(visit, server):
    page = visit(server.port, reduced_motion="reduce")
    page.get_by_text("tokens/s").wait_for()
    assert page.locator(".token").count() == 0


def test_many_nodes_fit_any_width(visit, server, script):
    script.stages = [stage(f"raspberry-pi-number-{n}", 10 * n) for n in range(8)]
    for size in (PHONE, WIDE):
        page = visit(server.port, size=size)
        drawing, *cases = page.locator(".drawing").evaluate(
            """drawing => [drawing, ...drawing.querySelectorAll(".case")].map((one) => {
                 const { left, right } = one.getBoundingClientRect();
                 return [left, right];
               })"""
        )
        assert len(cases) == 8
        outside = [case for case in cases if case[0] < drawing[0] or case[1] > drawing[1]]
        assert outside == [], drawing


def test_sentences_are_told_when_they_are_whole(visit, server, script):
    first = threading.Event()
    script.frames = [piece("One is he"), piece("re. Two is no"), first, piece("t yet."), *ending()]
    page = visit(server.port)
    ask(page, "Count")
    expect(page.locator("#spoken")).to_have_text("One is here.")
    first.set()
    expect(page.locator("#spoken")).to_have_text("Two is not yet.")
