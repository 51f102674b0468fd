"""What gates measure, by kind, and the meter that asks them. Only workers import this. Empty, as the package above."""
