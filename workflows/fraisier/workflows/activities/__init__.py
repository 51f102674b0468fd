"""Activities: where the workflows meet targets, streams and clocks. Empty on purpose, as the package above."""
