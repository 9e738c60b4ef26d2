"""Golden model: bit-exact integer arithmetic of recurrent networks on noisy analog crossbars."""
