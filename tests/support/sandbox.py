"""A stricter sandbox than the workers': it catches a clock, chance or a file in whatever decides."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

DECLARING = (
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
"""Modules that only declare: models, protocols and activities. All others (arithmetic, controls, gates, the workflows)
are imported anew for each workflow, under the sandbox's eyes."""

STRICT = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*DECLARING))
