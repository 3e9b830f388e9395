"""A person chats: asks, waits, stops, edits, asks anew, and finds it all again."""

import json
import threading

import pytest

from tests.page.conftest import ask, expect, finished
from tests.support.page_server import PageServer, data, ending, piece, said

pytestmark = pytest.mark.browser


def test_an_answer_is_shown_as_it_comes_with_what_it_waits_for_before(visit, server, script):
    turns = [threading.Event() for _ in range(4)]
    script.frames = [b": waiting\n", b": waiting 2 30\n", turns[0], b": prompt 128/512\n", turns[1]]
    script.frames += [piece("I think.", "reasoning_content"), turns[2]]
    script.frames += [piece("Hello, **you"), turns[3], piece("**. How are you?"), *ending()]
    page = visit(server.port)
    ask(page, "Hi")
    page.get_by_text("2 before you, about 30 s").wait_for()
    turns[0].set()
    page.get_by_text("Reading the prompt: 128 of 512 tokens").wait_for()
    assert page.locator("progress").evaluate("bar => bar.value") == 0.25
    turns[1].set()
    page.get_by_text("Thinking…").wait_for()
    assert not page.get_by_text("I think.").is_visible()  # folded
    turns[2].set()
    page.get_by_text("Hello, **you").wait_for()
    turns[3].set()
    finished(page)
    assert page.locator(".assistant strong").inner_text() == "you"
    figures = page.locator(".figures").inner_text()
    assert "4.3 tokens/s" in figures and "7 tokens" in figures and "5 known already" in figures
    page.locator("summary").click()
    assert page.get_by_text("I think.").is_visible()
    assert "How are you?" in page.locator("#spoken").inner_text()
    (asked,) = script.asked
    assert asked["messages"] == [{"role": "user", "content": "Hi"}]
    assert asked["stream_options"] == {"include_usage": True}
    assert not {"temperature", "top_k", "seed"} & asked.keys()


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_an_answer_that_is_stopped_keeps_what_it_has(visit, server, script, how):
    script.frames = [piece("Once upon"), threading.Event()]
    page = visit(server.port)
    ask(page, "A story")
    page.get_by_text("Once upon").wait_for()
    if how == "button":
        page.locator("#stop").click()
    else:
        page.keyboard.press("Escape")
    finished(page)
    assert script.left.wait(15)
    assert page.get_by_text("Stopped.").is_visible()
    script.frames = said(" a time.")
    page.get_by_role("button", name="Continue").click()
    page.locator(".assistant").get_by_text("Once upon a time.").wait_for()
    finished(page)
    assert script.asked[-1]["messages"][-1] == {"role": "assistant", "content": "Once upon"}


def test_a_question_is_edited_and_an_answer_made_anew(visit, server, script):
    page = visit(server.port)
    ask(page, "One")
    finished(page)
    ask(page, "Two")
    finished(page)
    assert [turn["content"] for turn in script.asked[-1]["messages"]] == ["One", "Hello.", "Two"]
    script.frames = said("Again.")
    page.get_by_role("button", name="Regenerate").last.click()
    page.locator(".assistant").get_by_text("Again.").wait_for()
    finished(page)
    assert script.asked[-1] == script.asked[-2]
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_label("Edit the question").fill("Three")
    page.keyboard.press("Enter")
    finished(page)
    assert [turn["content"] for turn in script.asked[-1]["messages"]] == ["Three"]
    assert page.locator(".message").count() == 2


def test_conversations_survive_a_reload_and_are_found_renamed_and_deleted(visit, server):
    page = visit(server.port)
    ask(page, "About foxes")
    finished(page)
    page.get_by_role("button", name="New conversation").click()
    ask(page, "About kites")
    finished(page)
    page.reload()
    page.locator(".user").get_by_text("About kites").wait_for()
    titles = page.locator("#conversation-list .title")
    assert titles.all_inner_texts() == ["About kites", "About foxes"]
    page.locator("#search").fill("FOX")
    assert titles.all_inner_texts() == ["About foxes"]
    page.get_by_role("button", name="Rename “About foxes”").click()
    page.get_by_label("Title").fill("Animals")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Animals", exact=True).click()
    page.locator(".user").get_by_text("About foxes").wait_for()
    page.get_by_role("button", name="Delete “Animals”").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("None has these words.").wait_for()
    page.locator("#search").fill("")
    expect(titles).to_have_count(1)
    assert titles.all_inner_texts() == ["About kites"]


def test_what_is_exported_is_imported_elsewhere(visit, server, tmp_path):
    page = visit(server.port)
    ask(page, "About foxes")
    finished(page)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Export all").click()
    file = tmp_path / "all.json"
    downloading.value.save_as(file)
    other = visit(server.port)
    other.locator("#import-file").set_input_files(file)
    other.get_by_text("Imported 1 conversation.").wait_for()
    other.locator(".user").get_by_text("About foxes").wait_for()
    assert other.locator(".figures").inner_text() == page.locator(".figures").inner_text()
    values = json.loads(file.read_text())
    values["conversations"][0]["messages"][0]["role"] = "system"
    file.write_text(json.dumps(values))
    other.locator("#import-file").set_input_files(file)
    other.get_by_text("Conversation 1 of this file has a message that is none.").wait_for()


def test_settings_go_with_every_question(visit, server, script):
    page = visit(server.port)
    page.locator("#open-settings").click()
    page.get_by_label("System prompt").fill("Be short.")
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Think before").select_option("no")
    page.get_by_role("button", name="Save").click()
    ask(page, "Hi")
    finished(page)
    asked = script.asked[-1]
    assert asked["messages"][0] == {"role": "system", "content": "Be short."}
    assert (asked["temperature"], asked["seed"]) == (0.5, 7)
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert "top_p" not in asked


def test_a_key_is_asked_for_kept_and_forgotten(visit, server, script):
    script.key = "right"
    page = visit(server.port)
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Use it").click()
    page.get_by_text("This key is not known here.").wait_for()
    page.get_by_label("API key").fill("right")
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector("#cluster:not([hidden]) .node")
    ask(page, "Hi")
    finished(page)
    assert page.locator(".assistant").get_by_text("Hello.", exact=True).is_visible()
    page.locator("#open-settings").click()
    page.get_by_role("button", name="Forget the API key").click()
    page.get_by_role("button", name="Save").click()
    ask(page, "Again")
    page.get_by_label("API key").fill("right")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator(".assistant .figures")).to_have_count(2)
    assert page.locator(".failure").count() == 0


def test_the_page_survives_the_server(visit, script):
    script.frames = [piece("Once upon"), threading.Event()]
    with PageServer(script) as server:
        page = visit(server.port)
        ask(page, "A story")
        page.get_by_text("Once upon").wait_for()
    page.get_by_text("The server does not answer.").wait_for()
    finished(page)
    assert page.locator(".failure").count() == 1
    script.frames = said("The end.")
    with PageServer(script, server.port):
        page.get_by_text("The server does not answer.").wait_for(state="detached")
        page.get_by_role("button", name="Try again").click()
        page.locator(".assistant").get_by_text("The end.").wait_for()
        finished(page)
        assert page.locator(".failure").count() == 0


def test_a_failure_midway_is_told_in_the_servers_words(visit, server, script):
    script.frames = [piece("Once"), data({"error": {"message": "pi2 stopped answering"}})]
    page = visit(server.port)
    ask(page, "A story")
    page.locator(".failure").get_by_text("pi2 stopped answering").wait_for()
    assert page.get_by_role("button", name="Try again").is_visible()


def test_text_is_copied_without_a_secure_context(visit, server, script):
    script.frames = said("Look:\n\n```python\nprint(1)\n```\n")
    page = visit(server.port)
    assert not page.evaluate("isSecureContext")
    ask(page, "Code")
    finished(page)
    page.get_by_role("button", name="Copy code").click()
    page.get_by_text("Copied", exact=True).wait_for()
    page.locator("#question").focus()
    page.keyboard.press("Control+V")
    assert page.locator("#question").input_value() == "print(1)"


def test_all_of_it_works_by_keyboard_alone(visit, server):
    page = visit(server.port)
    page.keyboard.type("Two")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("lines")
    page.keyboard.press("Enter")
    finished(page)
    assert page.locator(".user .said").inner_text() == "Two\nlines"
    assert page.evaluate("document.activeElement.id") == "question"
    page.evaluate("document.activeElement.blur()")
    page.reload()
    page.wait_for_selector(".assistant .actions")
    page.evaluate("document.activeElement.blur()")
    passed = []
    for _ in range(40):
        page.keyboard.press("Tab")
        passed.append(
            page.evaluate("document.activeElement.textContent || document.activeElement.id")
        )
    order = [
        "Skip to the question",
        "Settings",
        "New conversation",
        "As a table",
        "Edit",
        "Regenerate",
    ]
    places = [passed.index(name) for name in order]
    assert places == sorted(places)
    assert passed.index("question") > places[-1]
