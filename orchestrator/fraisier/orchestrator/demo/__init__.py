"""The demo: hosts, releases and the play."""
