"""Studies: questions about a network on real hardware, answered by golden and by RTL."""
