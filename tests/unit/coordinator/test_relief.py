"""Steps to ease a node's memory: each has its time to work before the next one."""

from pi_cluster.coordinator.scheduling.relief import CAREFUL_S, WORKS_S, Relief


def test_while_memory_is_short_nobody_comes_in_and_every_step_has_time_to_work():
    relief = Relief()
    assert relief.lets_in(0.0, running=9) and not relief.needs_more(0.0)
    relief.is_short(10.0)
    assert not relief.lets_in(10.0, running=0)
    relief.is_short(10.0 + WORKS_S)
    assert not relief.needs_more(10.0 + WORKS_S) and relief.needs_more(10.1 + WORKS_S)
    relief.acted(10.1 + WORKS_S)
    assert not relief.needs_more(10.2 + WORKS_S)


def test_afterwards_texts_come_in_one_by_one_for_a_while():
    relief = Relief()
    relief.is_short(0.0)
    relief.is_over()
    assert relief.lets_in(1.0, running=1)
    relief.let_in(1.0)
    assert not relief.lets_in(1.1, running=1)
    assert relief.lets_in(1.1, running=0), "nothing runs that could take memory"
    assert relief.lets_in(1.0 + WORKS_S, running=1)
    relief.let_in(CAREFUL_S)
    assert relief.lets_in(CAREFUL_S, running=1), "long over"
