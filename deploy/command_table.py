"""Every command of `pi-cluster`: its name, where it is, and the line that `--help` shows of it."""

import click

from pi_cluster.deploy.lazy_group import LazyGroup, Place


def _place(target: str, summary: str) -> Place:
    return Place(f"pi_cluster.deploy.commands.{target}", summary)


@click.group(
    "authority",
    cls=LazyGroup,
    places={
        "rotate": _place(
            "authority:rotate",
            "Replace the authority and every certificate, while the cluster goes on working.",
        ),
        "show": _place(
            "authority:show", "Show the authority's hash, its folder, and until when it is valid."
        ),
    },
)
def _authority() -> None:
    """Show or replace the cluster's authority."""


@click.group(
    "node",
    cls=LazyGroup,
    places={
        "list": _place(
            "node:list_nodes", "Show who has a certificate, until when, and who was revoked."
        ),
        "revoke": _place(
            "node:revoke", "Shut a node or a granted coordinator out, for ever and at once."
        ),
    },
)
def _node() -> None:
    """Show which nodes (and granted coordinators) have certificates, and take one back."""


@click.group(
    "node-certificate",
    cls=LazyGroup,
    places={
        "install": _place(
            "node_certificate:install",
            "Read a JSON object of PEM texts (certificate, authorities, revocations) from stdin.",
        ),
        "request": _place(
            "node_certificate:request",
            "Print a JSON object: the node's id, and its signing request (PKCS #10, DER, base64).",
        ),
    },
)
def _node_certificate() -> None:
    """Make a node's key and signing request, and install what the operator made of it.

    Run as the user whose worker it is. `pi-cluster up --hosts` does this over SSH.
    """


@click.group(
    "token",
    cls=LazyGroup,
    places={
        "create": _place(
            "token:create", "Make tokens, and print for each the line to paste on a Pi."
        ),
        "list": _place(
            "token:list_tokens", "Show tokens and what became of them; not their secrets."
        ),
        "revoke": _place(
            "token:revoke", "Let nobody join by a token any more; the nodes that did stay."
        ),
    },
)
def _token() -> None:
    """Let nodes join: make tokens, list them, take them back."""


COMMANDS: dict[str, Place | LazyGroup] = {
    "accept": _place(
        "grant:accept",
        "Take up a FILE of `pi-cluster grant`, so that this user may ask that cluster.",
    ),
    "authority": _authority,
    "bench": _place(
        "bench:bench",
        "Measure prefill and decode of the pipeline that is up, or several users at once.",
    ),
    "chat": _place("chat:chat", "Talk with the model; it remembers what was said."),
    "doctor": _place("doctor:doctor", "Examine the nodes and this machine, and say what to do."),
    "down": _place(
        "down:down", "Unload the stages on all nodes and stop the workers that run here."
    ),
    "grant": _place(
        "grant:grant", "Write a file by which another machine, called NAME, may ask the model."
    ),
    "init": _place(
        "init:init",
        "Make this cluster's authority and your certificates; from then on, TLS everywhere.",
    ),
    "join": _place(
        "join:join",
        'Join a cluster by a TOKEN of `pi-cluster token create`; "-" reads it from standard input.',
    ),
    "leave": _place(
        "leave:leave",
        "Take back what `join` did on this Pi: its service, its shards and its certificate.",
    ),
    "node": _node,
    "node-certificate": _node_certificate,
    "plan": _place(
        "plan:plan",
        "Show the plans for both objectives, and the tokens per second to expect of them.",
    ),
    "prompt": _place("prompt:prompt", "Ask the model."),
    "shard": _place("shard:shard", "Cut a checkpoint into a store: one file per layer."),
    "status": _place("status:status", "Show the pipeline and how its nodes are."),
    "token": _token,
    "up": _place(
        "up:up",
        "Bring a model up: plan its layers over the nodes, hand out shards, load, and try it.",
    ),
    "verify": _place(
        "verify:verify",
        "Compare every file of a store with its manifest, and name those that are damaged.",
    ),
    "worker": Place(
        "pi_cluster.worker.cli:worker",
        "Offer this machine to a cluster: hold some layers of a model and run them.",
    ),
}
