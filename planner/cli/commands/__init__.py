"""One module per command; `planner.cli.main` imports a module when its command is used."""
