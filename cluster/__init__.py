"""What coordinator and worker must agree on: plan, store, discovery, wire, settings, errors."""

from pi_cluster.cluster import (
    settings as settings,  # before anything imports gRPC: it keeps it quiet
)
