"""Training: settings, the float reference, the quantised network, evaluation."""
