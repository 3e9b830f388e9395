"""The `pi-cluster` command and what it does to machines: start workers, hand out shards, load.

`cli.py` is the command's frame, `commands/` holds one file a subcommand; `rollout.py` brings a
store onto nodes, `transfer.py` hands out its shards, `local_workers.py` starts and stops workers
here, `record.py` remembers.
"""

from pi_cluster.cluster.settings import keep_grpc_quiet

keep_grpc_quiet()  # before any import of the command brings gRPC in, which reads it only then
