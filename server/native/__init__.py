"""The cluster's own routes: what no other API has words for."""
