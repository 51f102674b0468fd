"""The sandbox that workers run workflows in."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

PASSED_THROUGH = ("fraisier.providers", "fraisier.workflows")
"""Modules that are not imported anew for each workflow. That none asks a clock or chance is what the tests look at, by
replays in a sandbox of their own; see docs/decisions/0039."""

SANDBOX = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))
