"""What coordinator and worker must agree on: store, trust, wire, discovery, settings, errors."""
