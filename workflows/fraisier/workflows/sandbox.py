"""The sandbox that workers run workflows in."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

PASSED_THROUGH = ("fraisier.providers", "fraisier.workflows")
"""Modules that are not imported anew for each workflow. That nothing in them asks a clock, chance or a file is checked
where the tests run workflows, in a sandbox that passes through only what declares; see docs/decisions/0039."""

SANDBOX = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))
