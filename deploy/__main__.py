"""``python -m deploy`` is ``pi-cluster``."""

from deploy.cli import main

main()
