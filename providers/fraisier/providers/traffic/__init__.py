"""Proxies in front of targets: take a target out of traffic and put it back, by the proxy's own means."""
