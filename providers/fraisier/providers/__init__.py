"""Providers: what drives a target, be it a bare-metal host or a Docker engine.

`fraisier.providers.base` has the protocol, `fraisier.providers.models` what goes in and out of it and
`fraisier.providers.errors` what can go wrong. Providers know nothing of Temporal.
"""
