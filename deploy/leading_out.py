"""Commands that ask a pipeline, whose errors end with the next step."""

import functools
from collections.abc import Callable
from typing import Any

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.transformer.errors import ModelError

Command = Callable[..., Any]


def leading_out(asking: Command) -> Command:
    """Have a command that asks the pipeline end its errors with the next step, as a note."""

    @functools.wraps(asking)
    def led(*args: Any, cluster: str, **others: Any) -> Any:
        try:
            return asking(*args, cluster=cluster, **others)
        except (ClusterError, ModelError) as error:
            add_next_step(error, cluster)
            raise

    return led


def add_next_step(error: ClusterError | ModelError, cluster: str) -> None:
    """Note what to do about it, if that is to bring the pipeline up again."""
    from pi_cluster.deploy.way_out import add_way_out

    add_way_out(error, cluster)
