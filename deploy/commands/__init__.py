"""One file a subcommand of `pi-cluster`: parse, call, print."""
