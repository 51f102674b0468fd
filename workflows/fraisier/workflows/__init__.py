"""The workflow engine: manifest, plan, workflows, activities and gates.

Empty on purpose: whatever stood here would be loaded with every workflow, libraries that do I/O too, and in the tests'
sandbox for each anew.
"""
