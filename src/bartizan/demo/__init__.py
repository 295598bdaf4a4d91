"""A sample organisation that lives: people, machines, sign-ins, alerts of several products, an attack that unfolds."""
