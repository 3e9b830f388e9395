"""What coordinator and worker must agree on: plan, store, discovery, wire, settings, errors."""
