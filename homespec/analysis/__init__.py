"""Questions about a sound spec that need no torch: what it costs, what it says in full."""
