"""Who somebody is, and what he may: keys, certificates, tokens, roles."""
