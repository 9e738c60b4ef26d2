"""What the numbers are: a bit-exact model of recurrent networks on noisy crossbars."""
