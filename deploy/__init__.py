"""The `pi-cluster` command and what it does to machines: start workers, hand out shards, load.

`cli.py` is the command's frame, `commands/` holds one file a subcommand, `screen/` what people see
of it. `local_workers.py` starts and stops workers here, `hosts/` sets up others over SSH.
"""
