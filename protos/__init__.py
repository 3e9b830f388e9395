"""The wire contract: `pi_cluster.proto` and the stubs that `make protos` generates from it."""
