"""``python -m pi_cluster.deploy`` is ``pi-cluster``."""

from pi_cluster.deploy.cli import main

main()
