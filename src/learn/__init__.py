"""Fitting the temporal CNN, calibrating it, and keeping its runs."""
