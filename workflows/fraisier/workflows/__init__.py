"""The workflow engine: manifest, plan, workflows, activities and gates.

Empty on purpose: the workflow sandbox imports parent packages too, so whatever stood here would be loaded
inside every workflow.
"""
