"""The `wordline` command: one file per group of subcommands."""
