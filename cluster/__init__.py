"""What coordinator and worker must agree on: store, trust, wire, discovery, settings, errors."""

from pi_cluster.cluster import (
    settings as settings,  # before anything imports gRPC: it keeps it quiet
)
