"""The Graph API: one handler per verb for every resource; one file per area of resources."""
