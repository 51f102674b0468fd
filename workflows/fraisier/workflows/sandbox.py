"""The sandbox that workers, tests and the replayer run workflows in."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

PASSED_THROUGH = (
    "fraisier.providers",
    "fraisier.workflows.activities",
    "fraisier.workflows.contracts",
    "fraisier.workflows.gate_plans",
    "fraisier.workflows.gate_steps",
    "fraisier.workflows.plans",
    "fraisier.workflows.policy",
    "fraisier.workflows.ports",
    "fraisier.workflows.status",
    "fraisier.workflows.steps",
    "fraisier.workflows.verbs",
)
"""Modules that only declare: models, protocols and activities. Building their models anew inside every workflow
costs tens of milliseconds each time. Whatever decides (arithmetic, controls, gates, the workflows) is not in here, so
that a clock or a random number in it is caught."""

SANDBOX = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))
