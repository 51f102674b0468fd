"""The local stack: NATS, Temporal and a worker on this machine, for trying out, for the demo and for tests."""

from fraisier.orchestrator.stack.errors import MemberFailed, StackError
from fraisier.orchestrator.stack.local import LocalStack, MemberStatus
from fraisier.orchestrator.stack.state import Addresses

__all__ = ["Addresses", "LocalStack", "MemberFailed", "MemberStatus", "StackError"]
