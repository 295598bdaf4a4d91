"""Identity protection: what is decided about identities, from what is known of them."""
