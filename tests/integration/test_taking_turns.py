"""Commands that change a cluster while another program does: they wait for it, and say so."""

import pytest

from pi_cluster.cluster.errors import BeingChanged
from pi_cluster.coordinator.records.kept_record import changing
from pi_cluster.deploy.taking_turns import in_turn
from tests.support.cluster_process import eventually

PATIENCE_S = 60.0


@pytest.mark.parametrize(
    ("words", "done"),
    [(("up", "--local", "1"), "ready: 1 stage"), (("down",), "no pipeline was up")],
    ids=["up", "down"],
)
def test_what_another_program_does_to_the_cluster_is_waited_for(cluster, words, done):
    with cluster.environment(), changing(cluster.name):
        running = cluster.start(*words)
        said = eventually(lambda: running.error_text, lambda text: "waiting" in text, PATIENCE_S)
    outcome = running.end()
    assert f"another program is changing cluster '{cluster.name}'" in said
    assert (outcome.code, outcome.out) == (0, ""), outcome
    assert outcome.err.count("waiting") == 1 and done in outcome.err, outcome.err


def test_revoking_takes_its_turn_too(cluster):
    assert cluster.run("init").code == 0
    with cluster.environment(), changing(cluster.name):
        running = cluster.start("node", "revoke", "nobody")
        eventually(lambda: running.error_text, lambda text: "waiting" in text, PATIENCE_S)
    assert "nobody is called 'nobody' here" in running.end().err


def test_a_turn_that_does_not_end_is_given_up_by_name(cluster):
    refused = pytest.raises(
        BeingChanged, match=f"changing cluster '{cluster.name}'.*run this again"
    )
    with cluster.environment(), changing(cluster.name), refused, in_turn(cluster.name, wait_s=0.3):
        raise AssertionError("two change it at once")


def test_what_fails_in_one_turn_is_not_tried_in_another(cluster):
    with cluster.environment():
        with pytest.raises(BeingChanged), in_turn(cluster.name):
            raise BeingChanged("as another one below it says")
        with in_turn(cluster.name, wait_s=0.0) as folder:
            assert folder.name == cluster.name
