"""Calls as each kind of model writes them: told from text, however the answer is cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.coordinator.asking.parts import AnswerParts, Called, Said, Thought
from pi_cluster.coordinator.calling.feed import Feed
from pi_cluster.coordinator.calling.generic import Generic
from pi_cluster.coordinator.calling.hermes import Hermes
from pi_cluster.coordinator.calling.llama import Llama
from pi_cluster.coordinator.calling.mistral import MistralList
from pi_cluster.coordinator.calling.mistral_arguments import MistralArguments
from pi_cluster.coordinator.calling.reading import CallReader

NAMES = {"turn_on", "now"}
FORMATS = {
    "mistral": MistralList(5, dummy_prefix=True),
    "mistral v11": MistralArguments(5, 6, 7),
    "hermes": Hermes(5, 6),
    "hermes in pieces": Hermes(None, None),
    "llama": Llama(5),
    "generic": Generic(),
}
A, B, C = "\ud800", "\ud801", "\ud802"  # the tokens of ids 5, 6, 7
LAMP = '{"name": "turn_on", "arguments": {"name": "Küche \\"}", "on": [1, {}]}}'
LAMP_CALL = ("turn_on", '{"name": "Küche \\"}", "on": [1, {}]}')
NOW = '{"name": "now", "arguments": {}}'
NOW_CALL = ("now", "{}")

DEEP, DEEPER = (
    json.dumps({"name": "now", "arguments": f'{{"a": {"[" * depth}{"]" * depth}}}'})
    for depth in (80, 100_000)
)

# An answer, what it says, and what it calls.
READ = [
    ("mistral", f"{A} [{LAMP}]", "", [LAMP_CALL]),
    ("mistral", f"{A}[{LAMP},\n {NOW}]", "", [LAMP_CALL, NOW_CALL]),
    ("mistral", f" [{LAMP}]", "", [LAMP_CALL]),
    ("mistral", f"I turn it on.\n{A} [{LAMP}]", "I turn it on.", [LAMP_CALL]),
    ("mistral", f"{A} [{LAMP}] Done.", " Done.", [LAMP_CALL]),
    ("mistral", f"{A} [{LAMP}] \n", "", [LAMP_CALL]),
    ("mistral", '[{"name": "Otto"}] and [1]', '[{"name": "Otto"}] and [1]', []),
    ("mistral", f"As in [{LAMP}]", f"As in [{LAMP}]", []),
    ("mistral", f"{A} none", "[TOOL_CALLS] none", []),
    ("mistral", f"{A} []", "[TOOL_CALLS] []", []),
    ("mistral", f'{A} [{{"name": "turn_on", "arg', '[TOOL_CALLS] [{"name": "turn_on", "arg', []),
    ("mistral", f"{A}{A} [{NOW}]", "[TOOL_CALLS]", [NOW_CALL]),
    ("mistral", f'{A} [{NOW}, {{"name": "rm"}}]', ', {"name": "rm"}]', [NOW_CALL]),
    ("mistral v11", f"{A}turn_on{B}{{}}{A}now{B}{{}}", "", [("turn_on", "{}"), NOW_CALL]),
    ("mistral v11", f"{A}now{C}Ab3456789{B}{{}}", "", [NOW_CALL]),
    ("mistral v11", f"{A}rm{B}{{}}", "[TOOL_CALLS]rm[ARGS]{}", []),
    ("mistral v11", f"{A}now{{}}", "[TOOL_CALLS]now{}", []),
    ("mistral v11", f"{A}now{B}{{1}}", "[TOOL_CALLS]now[ARGS]{1}", []),
    ("mistral v11", f"{A}{'n' * 70}", f"[TOOL_CALLS]{'n' * 70}", []),
    ("hermes", f"{A}\n{LAMP}\n{B}\n{A}\n{NOW}\n{B}", "", [LAMP_CALL, NOW_CALL]),
    ("hermes", f"Well.\n\n{A}{NOW}", "Well.", [NOW_CALL]),
    ("hermes", f"{A}\n{NOW}\n{B} and text", " and text", [NOW_CALL]),
    ("hermes", f"{A} x {A}{NOW}{B}", "<tool_call> x", [NOW_CALL]),
    ("hermes", f"{B} alone", "</tool_call> alone", []),
    ("hermes in pieces", f"<tool_call>\n{LAMP}\n</tool_call>", "", [LAMP_CALL]),
    ("hermes in pieces", f"1 < 2 <tool<tool_call>{NOW}</tool_call>", "1 < 2 <tool", [NOW_CALL]),
    ("hermes in pieces", f"<tool_call>{NOW}</tool>", "</tool>", [NOW_CALL]),
    ("llama", '{"name": "now", "parameters": {}}', "", [NOW_CALL]),
    ("llama", '{"type": "function", "name": "now", "parameters": {}}', "", [NOW_CALL]),
    ("llama", f'{A}{{"name": "now", "parameters": null}}', "", [NOW_CALL]),
    ("llama", '{"name":"now"}; {"name":"now", "parameters": "{}"}', "", [NOW_CALL, NOW_CALL]),
    ("llama", DEEP, DEEP, []),
    ("llama", DEEPER, DEEPER, []),
    ("llama", '{"name": "Otto", "parameters": {}}', '{"name": "Otto", "parameters": {}}', []),
    ("llama", f"{A}print(1)", "<|python_tag|>print(1)", []),
    ("generic", f'{{"tool_calls": [{LAMP}, {NOW}]}}', "", [LAMP_CALL, NOW_CALL]),
    ("generic", '{"response": "a\\n\\u00e9 \\ud83d\\ude00 \\\\"}', "a\né 😀 \\", []),
    ("generic", '{"response": "\\ud83d!\\ude00 \\ud83d\\n"}', "\ufffd!\ufffd \ufffd\n", []),
    ("generic", '{"response": "it goes o', "it goes o", []),
    ("generic", "Just text.", "Just text.", []),
    ("generic", '{"tool_calls": [{}]}', '{"tool_calls": [{}]}', []),
]


def read(name, pieces, most=16):
    """The text and the calls of an answer that comes in pieces."""
    reader = CallReader(FORMATS[name], NAMES, most)
    parts = [part for piece in pieces for part in reader.push(piece)] + [*reader.finish()]
    calls = [part for part in parts if not isinstance(part, str)]
    assert all(len(call.id) == 9 for call in calls)
    text = "".join(part for part in parts if isinstance(part, str))
    return text, [(call.name, call.arguments) for call in calls]


def cut(text, places):
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(("name", "answer", "text", "calls"), READ)
def test_calls_are_told_from_text(name, answer, text, calls):
    assert read(name, [answer]) == (text, calls)
    assert read(name, answer) == (text, calls), "by single characters"


def without_foreign_marks(name, answer):
    own = {mark.character for mark in FORMATS[name].marks.values()}
    return answer.translate({ord(mark): "" for mark in {A, B, C} - own})


FRAGMENTS = st.sampled_from(
    [
        *(A, B, C, "[", "]", "{", "}", ",", " ", "\n", '"', "\\", "<", "x", "é😀"),
        *(LAMP, NOW, f" [{NOW}]", "now", "<tool_call>", "</tool_call>"),
        *('{"name": "now"', '{"response": "'),
    ]
)
ANSWERS = st.lists(FRAGMENTS, max_size=12).map("".join)


@settings(max_examples=300)
@given(
    name=st.sampled_from([*FORMATS]),
    answer=st.one_of(ANSWERS, st.sampled_from([answer for _, answer, _, _ in READ])),
    places=st.lists(st.integers(0, 200), max_size=6),
)
def test_an_answer_reads_the_same_however_it_is_cut(name, answer, places):
    answer = without_foreign_marks(name, answer)
    whole = read(name, [answer])
    assert read(name, cut(answer, places)) == whole
    text, calls = whole
    assert not any("\ud800" <= character <= "\udfff" for character in text)
    for _, arguments in calls:
        assert isinstance(json.loads(arguments), dict)


@settings(max_examples=200)
@given(name=st.sampled_from([*{*FORMATS} - {"generic"}]), answer=ANSWERS)
def test_an_answer_without_calls_loses_nothing(name, answer):
    answer = without_foreign_marks(name, answer)
    text, calls = read(name, [answer])
    if not calls:
        marks = FORMATS[name].marks.values()
        assert text == answer.translate({ord(m.character): m.spelling for m in marks})


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("begin", ["", A, f"{A} [", '{"response": "', '{"tool_calls": ['])
@pytest.mark.parametrize("again", ['{"a":', "[{", "<tool_", f"{A} [", "\\", " ", '{"name": "now"'])
def test_the_work_for_a_hostile_answer_is_linear_and_not_deep(name, begin, again, monkeypatch):
    answer = without_foreign_marks(name, begin + again * 2_000)
    taken, take = [], Feed.take

    def counted(feed):
        taken.append(1)
        return take(feed)

    monkeypatch.setattr(Feed, "take", counted)
    _, calls = read(name, [answer])
    assert not calls
    assert len(taken) <= 3 * len(answer) + 100


def test_no_more_calls_are_read_than_were_asked_for():
    text, calls = read("mistral", [f"{A} [{NOW}, {NOW}]"], most=1)
    assert (text, calls) == (f", {NOW}]", [NOW_CALL])


def test_calls_stand_behind_thoughts_and_not_within_them():
    reader = CallReader(FORMATS["hermes"], NAMES, 16)
    parts = AnswerParts(begins_in_thought=False, calls=reader)
    answer = f"<think>\n{A}{NOW}{B}</think>\n\n{A}\n{NOW}\n{B}"
    told = [*parts.push(answer), *parts.finish()]
    thought, called = told
    assert thought == Thought(f"<think>\n<tool_call>{NOW}</tool_call></think>")
    assert isinstance(called, Called)
    assert called.call.name == "now"


def test_text_in_front_of_a_call_is_told_as_it_comes():
    parts = AnswerParts(begins_in_thought=False, calls=CallReader(FORMATS["mistral"], NAMES, 16))
    assert [*parts.push("Well, ")] == [Said("Well,")]
    assert [*parts.push("now ")] == [Said(" now")]
    assert [*parts.push(f"{A} [")] == []
    assert [type(part) for part in parts.push(f"{NOW}]")] == [Called]
    assert [*parts.finish()] == []
