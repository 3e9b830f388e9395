"""The network ports of one node: what makes a link slow or break."""

from collections.abc import Iterator

from pi_cluster.deploy.doctor.facts import Examined
from pi_cluster.deploy.doctor.findings import Finding, note, warning
from pi_cluster.protos import pi_cluster_pb2 as pb

GIGABIT = 1_000  # megabits per second
# Two or three changes belong to every boot; a sound link has no more of them.
MOST_CARRIER_CHANGES = 10
MOST_CARRIER_CHANGES_AN_HOUR = 1.0

_WITH_100_MBIT = ("Raspberry Pi 3 Model B Rev", "Raspberry Pi 2", "Raspberry Pi Model B")


def wired(node: Examined) -> Iterator[Finding]:
    """Cables that carry less than they should, or break."""
    for port in node.examination.ports:
        if port.is_up and not port.is_wireless:
            yield from _rate(node, port)
            yield from _flapping(node, port)


def wireless(node: Examined) -> Iterator[Finding]:
    """Wi-Fi that sleeps, that competes with a cable, or that is all there is."""
    up = [port for port in node.examination.ports if port.is_up]
    radios = [port for port in up if port.is_wireless]
    for port in radios:
        if port.power_saving:
            yield warning(
                node.name,
                f"Wi-Fi power saving is on at {port.name}: each token may wait a tenth of a second",
                f"sudo iw dev {port.name} set power_save off; for good: sudo nmcli connection "
                "modify NAME 802-11-wireless.powersave 2 (`nmcli connection` lists the names)",
            )
    if not radios:
        return
    if len(radios) < len(up):
        yield warning(
            node.name,
            f"{radios[0].name} (Wi-Fi) is up beside the cable: steps may go by radio",
            "sudo nmcli radio wifi off",
        )
    else:
        yield note(
            node.name,
            "it is connected by Wi-Fi alone, where each hop takes milliseconds",
            "a cable to a Gigabit switch is several times faster",
        )


def _rate(node: Examined, port: pb.NetworkPort) -> Iterator[Finding]:
    if 0 < port.megabits_ps < GIGABIT:
        is_all_it_has = node.examination.model.startswith(_WITH_100_MBIT)
        say = note if is_all_it_has else warning
        yield say(
            node.name,
            f"{port.name} runs at {port.megabits_ps} Mbit/s instead of {GIGABIT}",
            "this board's port has no more; a Pi 4 or 5 has"
            if is_all_it_has
            else "try another cable (all eight wires, Cat 5e or better) and another port of a "
            f"Gigabit switch; `ethtool {port.name}` shows what the two sides offer",
        )
    if port.HasField("full_duplex") and not port.full_duplex:
        yield warning(
            node.name,
            f"{port.name} is half duplex: sending and receiving wait for each other",
            f"let both sides negotiate (`sudo ethtool -s {port.name} autoneg on`), and replace a "
            "hub by a switch",
        )


def _flapping(node: Examined, port: pb.NetworkPort) -> Iterator[Finding]:
    changes, hours = port.carrier_changes, node.examination.uptime_s / 3_600
    if changes <= MOST_CARRIER_CHANGES or changes <= MOST_CARRIER_CHANGES_AN_HOUR * hours:
        return
    what = f"the link of {port.name} came and went: {changes} changes in {hours:.1f} hours"
    if port.energy_efficient:
        yield warning(
            node.name,
            f"{what}, with energy-efficient Ethernet active, which some switches cannot do",
            f"sudo ethtool --set-eee {port.name} eee off; if that helps, make it permanent in the "
            "network configuration",
        )
    else:
        yield warning(node.name, what, "try another cable and another port of the switch")
