"""What is known of addresses and credentials beyond what a record says."""
