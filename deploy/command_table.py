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
            "Replace the authority and every certificate.",
        ),
        "show": _place(
            "authority:show", "Show the authority's hash, its folder, and until when it is valid."
        ),
    },
)
def _authority() -> None:
    """Show or replace the cluster's authority."""


@click.group(
    "key",
    cls=LazyGroup,
    places={
        "create": _place("key:create", "Make a key for NAME, and print it; it is shown this once."),
        "list": _place("key:list_keys", "Show whose keys there are; not the keys."),
        "revoke": _place(
            "key:revoke", "Let nobody in by the key of NAME, from the next request on."
        ),
    },
)
def _key() -> None:
    """Make keys for a server, list them, take them back."""


@click.group(
    "models",
    cls=LazyGroup,
    default="list",
    places={
        "list": _place(
            "models:list_models",
            "Show the models on this machine: size, format and state.",
        ),
        "rm": _place(
            "models:rm",
            "Remove a model from this machine's disk.",
        ),
    },
)
def _models() -> None:
    """Show the models on this machine, and remove one.

    Without a command, it is `list`.
    """


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
    """Show who has a certificate, and take one back.

    Nodes have them, and the coordinators that were granted one.
    """


@click.group(
    "node-certificate",
    cls=LazyGroup,
    places={
        "install": _place(
            "node_certificate:install",
            "Install the JSON object that standard input gives.",
        ),
        "request": _place(
            "node_certificate:request",
            "Print a node's id and its signing request, as JSON.",
        ),
    },
)
def _node_certificate() -> None:
    """Ask for a node's certificate, and install it.

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
        "Take up a FILE of `pi-cluster grant`.",
    ),
    "authority": _authority,
    "bench": _place(
        "bench:bench",
        "Measure tokens per second, and where the time goes.",
    ),
    "chat": _place("chat:chat", "Talk with the model; it remembers what was said."),
    "doctor": _place("doctor:doctor", "Examine the nodes and this machine, and say what to do."),
    "down": _place("down:down", "Unload all stages, and stop the workers that run here."),
    "eval": _place("evaluate:evaluate_model", "Measure how well the model does on a text."),
    "events": _place("events:events", "Show what happened to the pipeline, and when."),
    "grant": _place("grant:grant", "Write a file by which machine NAME may ask the model."),
    "init": _place(
        "init:init",
        "Make the cluster's authority and your certificates.",
    ),
    "join": _place(
        "join:join",
        "Join a cluster by a TOKEN of `pi-cluster token create`.",
    ),
    "key": _key,
    "leave": _place(
        "leave:leave",
        "Take back what `join` did on this Pi.",
    ),
    "models": _models,
    "node": _node,
    "node-certificate": _node_certificate,
    "plan": _place(
        "plan:plan",
        "Show the plans for both objectives, and their rates.",
    ),
    "prompt": _place("prompt:prompt", "Ask the model."),
    "pull": _place("pull:pull", "Fetch a model by its name, and cut it into a store."),
    "serve": _place(
        "serve:serve",
        "Serve the model over HTTP, to programs and people.",
    ),
    "shard": _place("shard:shard", "Cut a checkpoint into a store: one file per layer."),
    "status": _place("status:status", "Show the pipeline and how its nodes are."),
    "token": _token,
    "up": _place(
        "up:up",
        "Bring a model up on the nodes.",
    ),
    "verify": _place(
        "verify:verify",
        "Find what is damaged in a store, or on nodes.",
    ),
    "worker": Place(
        "pi_cluster.worker.cli:worker",
        "Offer this machine to a cluster.",
    ),
}
