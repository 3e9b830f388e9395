"""How many round trips of the pipeline a tool call takes, beside how many ids it has.

    python -m benchmarks.forced_ids [--workers 3]

A call of 38 ids, such as Home Assistant has made, in Mistral's own vocabulary and form, by a small
model of random weights on local workers. So that it calls at all, what it would choose is chosen
for it: wherever the grammar of the calls leaves a choice, the one id of the call may come. Ids
without a choice are forced, as they are for any model. Each id that is neither forced nor guessed
takes a round trip. Prints a table and, as the last line, JSON.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mistral_common

from benchmarks.shard_memory import MISTRAL_7B, write_checkpoint
from pi_cluster import PipelineClient, Tool
from pi_cluster.coordinator.asking.question import Question
from pi_cluster.coordinator.constraint import Constraint

_TOKENIZER = Path(mistral_common.__file__).parent / "data"
_TOKENIZER /= "mistral_instruct_tokenizer_240323.model.v3"
_SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
}
_TEMPLATE = (
    "{{ bos_token }}{% if tools %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]"
    "{% endif %}[INST] {{ messages | map(attribute='content') | join('\n\n') }}[/INST]"
)
_HOMES = ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_KINDS = {"type": "array", "items": {"enum": ["curtain", "outlet", "shutter", "switch"]}}
_PLACE = {"name": _TEXT, "area": _TEXT, "floor": _TEXT, "domain": _TEXTS, "device_class": _KINDS}
_LEVEL = {"type": "integer", "minimum": 0, "maximum": 100}
_HOME = {
    "HassTurnOn": ("Turns on, opens or presses a device or entity", _PLACE),
    "HassTurnOff": ("Turns off or closes a device or entity", _PLACE),
    "HassLightSet": ("Sets a light", {**_PLACE, "color": _TEXT, "brightness": _LEVEL}),
    "HassClimateSetTemperature": ("Sets a temperature", {"temperature": {"type": "number"}}),
    "HassMediaPause": ("Pauses a media player", _PLACE),
    "HassCancelAllTimers": ("Cancels all timers", {"area": _TEXT}),
    "GetLiveContext": ("Tells how the devices are now", {}),
}
TOOLS = [
    Tool(name, told, {"type": "object", "properties": properties, "required": []})
    for name, (told, properties) in _HOME.items()
]
CALL = {
    "name": "HassTurnOn",
    "arguments": {"name": "Kitchen Lights", "area": "Kitchen", "domain": ["light"]},
}
_CHAT = [
    {
        "role": "system",
        "content": "You are a voice assistant for a home with:\n- names: Kitchen Lights\n  "
        "domain: light\n  areas: Kitchen\n- names: Oven\n  domain: switch\n  areas: Kitchen",
    },
    {"role": "user", "content": "Turn on the lights in the kitchen."},
]


@dataclass(frozen=True, slots=True)
class Counted:
    """What one way to make the call took."""

    way: str
    ids: int
    forced: int
    guessed: int

    @property
    def round_trips(self) -> int:
        """How often the whole pipeline is waited for."""
        return self.ids - self.forced - self.guessed


class Chosen:
    """A `Constraint` as it would be, but for that choices are made by what is wanted."""

    def __init__(self, inner: Constraint, wanted: Sequence[int], *, forces: bool) -> None:
        self._inner = inner
        self._wanted = wanted
        self._forces = forces
        self._at = 0

    @property
    def is_finished(self) -> bool:
        """Whether the call is complete."""
        return self._at == len(self._wanted)

    def mask(self) -> bytes | None:
        """The id that is wanted, if the grammar allows it."""
        wanted = self._wanted[self._at]
        mask = self._inner.mask()
        if mask is not None and not mask[wanted // 8] >> wanted % 8 & 1:
            raise RuntimeError("the grammar does not allow the call")
        return (1 << wanted).to_bytes(wanted // 8 + 1, "little")

    def forced(self) -> Sequence[int]:
        """What the grammar leaves no choice for."""
        return self._inner.forced() if self._forces else ()

    def likely(self) -> Sequence[int]:
        """What the grammar makes likely."""
        return self._inner.likely() if self._forces else ()

    def accept(self, token: int) -> None:
        """An id of the call."""
        self._inner.accept(token)
        self._at += 1

    def rollback(self, count: int) -> None:
        """Guesses that were wrong."""
        self._inner.rollback(count)
        self._at -= count


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forced_ids")
    parser.add_argument("--workers", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, _connected(Path(name), options.workers) as client:
        counted = [
            _count(client, "one by one", forces=False, draft=False),
            _count(client, "forced ids", forces=True, draft=False),
            _count(client, "forced ids and guesses", forces=True, draft=True),
        ]
    print("| a call | ids | forced | guessed | round trips |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for one in counted:
        figures = (one.ids, one.forced, one.guessed, one.round_trips)
        print(f"| {one.way} | {' | '.join(map(str, figures))} |")
    ways = {one.way: {**asdict(one), "round_trips": one.round_trips} for one in counted}
    print(json.dumps({"workers": options.workers, "ways": ways}))


def _count(client: PipelineClient, way: str, *, forces: bool, draft: bool) -> Counted:
    question = client.question(_CHAT, tools=TOOLS, temperature=0, draft=draft, max_tokens=100)
    (opening,) = client.model.call_format().openings
    assert isinstance(opening, int), "Mistral's form begins with a token"
    wanted = [opening, *client.model.text_ids(json.dumps([CALL]), opening=False)]
    # What is read of the prompt once is not counted.
    _ask(client, replace(question, options=replace(question.options, max_tokens=1)))
    assert question.new_constraint, "calls have a grammar"
    chosen = _choosing(question.new_constraint, wanted, forces)
    before = replace(client.counters)
    answer = _ask(client, replace(question, new_constraint=chosen))
    if answer.ids != wanted or [call.name for call in answer.tool_calls] != [CALL["name"]]:
        raise RuntimeError(f"the call came out as {answer.text!r}")
    after = client.counters
    forced = after.forced_tokens - before.forced_tokens
    guessed = after.right_guesses - before.right_guesses
    return Counted(way, len(wanted), forced, guessed)


def _choosing(
    new: Callable[[], Constraint], wanted: Sequence[int], forces: bool
) -> Callable[[], Constraint]:
    return lambda: Chosen(new(), wanted, forces=forces)


def _ask(client: PipelineClient, question: Question) -> Any:
    with client.pose(question) as stream:
        for _ in stream:
            pass
    return stream.answer


@contextmanager
def _connected(folder: Path, workers: int) -> Iterator[PipelineClient]:
    """A client of a small model with Mistral's vocabulary on local workers."""
    os.environ.update({name: str(folder / name) for name in _HOMES})
    checkpoint = folder / "small"
    checkpoint.mkdir()
    write_checkpoint(checkpoint, {**MISTRAL_7B, **_SMALL}, is_random=True)
    shutil.copy(_TOKENIZER, checkpoint / "tokenizer.model")
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"chat_template": _TEMPLATE}))
    program = str(Path(sys.executable).with_name("pi-cluster"))
    named = ["--cluster", f"forced-{secrets.token_hex(4)}"]
    try:
        up = [program, "up", str(checkpoint), "--local", str(workers), *named]
        subprocess.run(up, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)
        with PipelineClient.connect(named[1]) as client:
            yield client
    finally:
        down = [program, "down", *named]
        subprocess.run(down, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
