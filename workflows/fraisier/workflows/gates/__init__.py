"""Gates: what decides whether the next wave may start. Empty on purpose, as the package above."""
