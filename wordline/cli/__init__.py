"""The `wordline` command: one file a group of subcommands."""
