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
"""Modules that declare: models, protocols, activities and small functions on them. All others (arithmetic, controls,
gates, the workflows) are imported anew for each workflow, under the sandbox's eyes. That these ask no clock is read
in their source (tests/architecture)."""

STRICT = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*DECLARING))
