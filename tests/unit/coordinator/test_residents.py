"""Room in the caches: who comes in, who is kept, and whose beginning is shared."""

from dataclasses import replace

import pytest

from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.residents import Residents
from pi_cluster.kernels import KVCache
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.errors import PromptError, StepError
from pi_cluster.transformer.kernel_arithmetic import kernel_shapes
from pi_cluster.transformer.limits import Limits
from tests.support.checkpoints import small_config

SYSTEM = list(range(1000, 1100))


def residents(*, sequences=8, positions=64 * 20, capacity=640, window=None, reuse=True):
    rolling = (CacheRoom(window, capacity),) if window else ()
    return Residents(CacheLimits(sequences, positions, capacity, rolling, 64), reuse=reuse)


def run(state, generated=()):
    """As if the pipeline had worked through the text and these ids."""
    state.text += generated
    state.sent = state.most_sent = state.confirmed = len(state.text)


def test_each_text_reserves_whole_tiles_of_what_it_may_grow_to():
    places = residents(positions=64 * 5)
    assert places.place(range(10), 65, 1)
    assert places.place(range(10), 129, 1)
    assert places.place(range(10), 1, 1) is None, "2 + 3 tiles are taken"


def test_a_text_beyond_the_window_reserves_its_rolling_buffer_only():
    places = residents(positions=640, capacity=640, window=100)
    assert places.place(range(10), 30_000, 1)


def test_there_is_a_bound_on_their_number_too():
    places = residents(sequences=2)
    assert places.place([1], 1, 1) and places.place([2], 1, 1)
    assert places.place([3], 1, 1) is None


def test_the_next_turn_of_a_chat_goes_on_with_the_same_sequence():
    places = residents()
    first = places.place(SYSTEM, 200, 1).state
    run(first, [5, 6, 7])
    assert places.finish(first)
    again = places.place([*SYSTEM, 5, 6, 7, 8, 9], 300, 1)
    assert (again.state.number, again.state.sent, again.evicted) == (first.number, 103, [])
    assert again.state.prefix_of == 0


def test_what_is_only_kept_is_let_go_and_what_runs_is_not():
    places = residents()
    ended, runs = (places.place(SYSTEM, 200, 1, is_shared=False).state for _ in range(2))
    run(ended)
    assert places.finish(ended)
    used = places.positions_used
    assert places.let_go() == [ended.number] and places.let_go() == []
    assert 0 < places.positions_used < used
    assert not places.place(SYSTEM, 200, 1).state.prefix_of, "nothing is there to begin with"
    places.drop(runs)


def test_the_same_prompt_again_computes_its_last_id_anew():
    places = residents()
    first = places.place(SYSTEM, 200, 1).state
    run(first)
    places.finish(first)
    assert places.place(SYSTEM, 200, 1).state.sent == len(SYSTEM) - 1


@pytest.mark.parametrize("finished", [True, False])
def test_a_shared_beginning_is_copied_from_one_that_others_may_need(finished):
    places = residents()
    first = places.place([*SYSTEM, 1, 2, 3], 200, 1).state
    run(first)
    if finished:
        places.finish(first)
    other = places.place([*SYSTEM, 9, 8], 200, 1).state
    assert (other.prefix_of, other.sent) == (first.number, len(SYSTEM))
    assert other.number != first.number


def test_only_what_has_passed_all_stages_is_shared():
    places = residents()
    first = places.place(SYSTEM, 200, 1).state
    first.sent, first.confirmed = 100, 40
    assert places.place(SYSTEM, 200, 1).state.sent == 40


@pytest.mark.parametrize(
    ("length", "is_shared"), [(256, True), (257, False)], ids=["all is there", "wrapped"]
)
def test_a_beginning_whose_window_was_overwritten_is_not_shared(length, is_shared):
    places = residents(capacity=256, window=192, positions=256 * 4)
    first = places.place(SYSTEM, 1000, 1).state
    run(first, range(length - len(SYSTEM)))
    places.finish(first)
    assert places.place([*SYSTEM, 5000], 200, 1).state.sent == (len(SYSTEM) if is_shared else 0)


def test_a_wrapped_cache_goes_back_as_far_as_its_spare_room():
    places = residents(capacity=256, window=192, positions=256 * 4)
    first = places.place(SYSTEM, 1000, 1).state
    run(first, range(900))
    places.finish(first)
    text = first.text
    assert places.place([*text[:935], 5000], 2000, 1).state.sent == 0
    assert places.place([*text[:936], 5000], 2000, 1).state.sent == 936


def test_a_copy_of_a_wrapped_cache_cannot_go_back_further_than_its_source():
    places = residents(capacity=256, window=192, positions=256 * 8)
    first = places.place(SYSTEM, 1000, 1).state
    run(first, range(160))
    first.most_sent = 300
    copy = places.place([*first.text[:240], 5000], 1000, 1).state
    assert copy.prefix_of == first.number
    copy.sent = copy.confirmed = 241
    places.finish(first)
    places.finish(copy)
    assert places.place([*SYSTEM, 6000], 1000, 1).state.sent == 0


def test_the_least_recently_used_makes_room_first_and_the_source_last():
    places = residents(positions=64 * 6)
    texts = [[tag] * 64 for tag in (1, 2, 3)]
    states = [places.place(text, 64, 1).state for text in texts]
    for state in states:
        run(state)
        places.finish(state)
    placement = places.place([*texts[0][:40], 9], 64 * 5, 1)
    assert placement.evicted == [states[1].number, states[2].number]
    assert placement.state.prefix_of == states[0].number


def test_where_there_is_no_room_for_a_copy_the_source_itself_is_taken():
    places = residents(positions=64 * 3)
    first = places.place([*SYSTEM, 1, 2, 3], 128, 1).state
    run(first)
    places.finish(first)
    taken = places.place([*SYSTEM, 9], 64 * 3, 1).state
    assert (taken.number, taken.sent, taken.prefix_of) == (first.number, len(SYSTEM), 0)


def test_nothing_is_kept_when_reuse_is_off():
    places = residents(reuse=False)
    first = places.place(SYSTEM, 200, 1).state
    run(first)
    assert not places.finish(first)
    assert places.place(SYSTEM, 200, 1).state.sent == 0


def test_a_chunk_is_checked_by_the_stages_rules_before_it_is_sent():
    places = residents(capacity=256, window=192, positions=256 * 4)
    state = places.place(SYSTEM, 100, 1).state
    places.check(state, 100)
    with pytest.raises(StepError, match="would reach 101 positions; 100 are reserved"):
        places.check(state, 101)
    long = places.place(range(10), 1000, 1).state
    long.most_sent, long.sent = 1000, 936
    places.check(long, 1)
    long.sent = 935
    with pytest.raises(StepError, match=r"position 935.*have held 1000.*overwritten"):
        places.check(long, 1)


def test_guesses_stay_within_what_a_rolling_buffer_can_take_back():
    places = residents(capacity=256, window=192, positions=256 * 4)
    state = places.place(range(10), 30_000, 1).state
    assert state.guess_room == 256 - 192
    state.guesses += [1, 2, 3]
    assert state.guess_room == 256 - 192 - 3


def test_a_copy_is_shared_only_once_its_first_chunk_has_passed_all_stages():
    places = residents()
    first = places.place([*SYSTEM, 1], 200, 1).state
    run(first)
    copy = places.place([*SYSTEM, 2], 200, 1).state
    assert copy.prefix_of == first.number
    places.finish(first)
    assert not places.finish(copy), "cancelled at once: some stage may hold nothing of it"
    run(other := places.place([*SYSTEM, 3], 200, 1).state)
    assert other.prefix_of == first.number


def test_what_a_text_that_is_taken_over_takes_up_is_not_free_before_the_stages_have_dropped_it():
    places = residents(positions=64 * 8)
    first = places.place(SYSTEM, 64 * 7, 1).state
    run(first, range(300))
    places.finish(first)
    taken = places.place(SYSTEM[:90], 128, 1).state
    assert taken.number == first.number
    assert places.place([1], 128, 1) is None, "one tile is free, whatever the new text needs"
    places.finish(taken)
    assert places.place([1], 128, 1).evicted == [taken.number]


def test_a_copy_takes_up_what_it_holds_itself_not_what_its_source_held():
    places = residents(positions=64 * 16)
    first = places.place(SYSTEM, 64 * 8, 1).state
    run(first, range(300))
    copy = places.place([*SYSTEM, 7], 128, 1).state
    run(copy)
    places.finish(copy)
    assert places.place([1], 64 * 6, 1).evicted == [], "8 + 2 + 6 tiles"


def test_a_text_that_no_amount_of_waiting_lets_in_is_refused():
    limits = CacheLimits(8, 64 * 4, 640, (), 64)
    limits.check_room(64 * 4)
    with pytest.raises(PromptError, match=r"320 positions.*have 256.*--texts"):
        limits.check_room(64 * 4 + 1)


MODELS = {
    "two windows": (32, 90, 32),
    "a layer sees all": (32, None, 90),
    "a window as wide as the context": (400, None),
    "a window that the context hardly passes": (300, None),
    "no window": (None, None),
}


@pytest.mark.parametrize("name", MODELS)
def test_where_windows_differ_texts_are_shortened_as_far_as_every_stages_cache_can_be(name):
    config, limits = small_config(n_layers=len(MODELS[name])), Limits(128, 3, 320, 960)
    layers = zip(config.layers, MODELS[name], strict=True)
    config = replace(config, layers=tuple(replace(layer, window=w) for layer, w in layers))
    ours = CacheLimits.of(config, limits)
    shapes = kernel_shapes(config, limits)
    assert ours.capacity == max(shape.capacity for shape in shapes)
    longest = 320 if None in MODELS[name] else 600
    cache, can_be_refused = KVCache(shapes), False
    for length in range(1, longest + 1):
        cache.advance(1)
        for to in range(2, length, 7):
            if ours.can_shorten(length, to):
                assert cache.can_truncate(to), (length, to)
            else:
                # One position is given away, as the stages see it to be still there.
                assert not cache.can_truncate(to - 1), (length, to)
                can_be_refused = True
        assert cache.can_truncate(max(0, length - ours.most_guesses))
    assert can_be_refused == (name in ("two windows", "a layer sees all"))
    assert (ours.most_guesses >= longest) == (not can_be_refused)


def kept(places, prompt, *, one_off=False, positions=64):
    """A text that has ended, and is kept."""
    state = places.place(prompt, positions, 1, one_off=one_off).state
    run(state)
    assert places.finish(state)
    return state


def test_one_off_texts_make_room_first_then_those_that_nobody_went_on_with():
    places = residents(positions=64 * 6)
    chat = kept(places, [1] * 40)
    assert kept(places, [*chat.text, 2, 3]).number == chat.number, "its second turn"
    new = kept(places, [4] * 40)
    title, tags = (kept(places, [n] * 40, one_off=True) for n in (5, 6))
    evicted = [places.place([n], 64, 1).evicted for n in range(7, 13)]
    assert evicted == [[], [], [title.number], [tags.number], [new.number], [chat.number]]


def test_a_one_off_copies_a_chat_rather_than_taking_its_caches_over():
    places = residents(positions=64 * 4)
    chat = kept(places, SYSTEM, positions=128)
    title = places.place([*SYSTEM, 5, 6], 128, 1, one_off=True)
    assert title.state.prefix_of == chat.number and not title.evicted


def test_a_one_off_without_other_room_takes_a_chat_over_which_stays_worth_what_it_was():
    places = residents(positions=64 * 3)
    chat = kept(places, SYSTEM, positions=128)
    kept(places, [*SYSTEM, 1], positions=128)
    title = places.place([*SYSTEM, 1, 2], 128, 1, one_off=True).state
    assert title.number == chat.number
    run(title)
    places.finish(title)
    kept(places, [7] * 40)
    assert places.place([*SYSTEM, 1, 9], 128, 1).state.sent == len(SYSTEM) + 1


def test_many_one_offs_at_once_wait_for_each_other_rather_than_end_a_chat():
    places = residents(positions=64 * 4)
    first = kept(places, SYSTEM, positions=128)
    chat = kept(places, [*first.text, 1], positions=128)
    new = kept(places, [4] * 40)
    one = places.place([5] * 40, 64, 1, one_off=True)
    other = places.place([6] * 40, 64, 1, one_off=True)
    assert (one.evicted, other.evicted) == ([], [new.number])
    for prompt in ([7] * 40, [*SYSTEM, 7], [*chat.text, 7]):
        assert places.place(prompt, 128, 1, one_off=True) is None
    for done in (one.state, other.state):
        run(done)
        assert places.finish(done)
    last = places.place([8] * 40, 128, 1, one_off=True)
    assert last.evicted == [one.state.number, other.state.number]
    run(last.state)
    assert places.finish(last.state)
    assert places.place([*chat.text, 9], 128, 1).state.number == chat.number


def test_a_one_off_that_has_none_to_wait_for_takes_the_room_that_there_is():
    places = residents(positions=64 * 2)
    first = kept(places, [1] * 40)
    chat = kept(places, [*first.text, 2])
    assert places.place([3] * 40, 128, 1, one_off=True).evicted == [chat.number]


def test_chats_beyond_half_of_the_room_are_worth_no_more_than_new_texts():
    places = residents(positions=64 * 4)
    chats = []
    for tag in (1, 2, 3):
        first = kept(places, [tag] * 40)
        chats.append(kept(places, [*first.text, 99]).number)
    new = kept(places, [4] * 40).number
    evicted = [places.place([n], 64, 1).evicted for n in (5, 6)]
    assert evicted == [[chats[0]], [new]]
