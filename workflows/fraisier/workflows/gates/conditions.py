"""The conditions of measuring gates: CEL, checked before a rollout and judged after each measurement."""

from collections.abc import Iterator, Mapping
from typing import Any

from celpy import Environment, celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, base_functions
from lark import Token, Tree

_MACROS = ("all", "exists", "exists_one", "map", "filter", "reduce", "min")
_TYPES = ("bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint")
_FUNCTIONS = {*base_functions, *_TYPES, "has"}


class ConditionFailed(Exception):
    """A condition has no answer: a key is missing, or types do not fit."""


def holds(condition: str, values: Mapping[str, Any]) -> bool:
    """Whether a condition is true of what was measured.

    Raises:
        ConditionFailed: it has no answer, or one that is neither true nor false.
    """
    try:
        answer = _evaluate(condition, values)
    except CELEvalError as error:
        raise ConditionFailed(f"{condition}: {_why(error)}") from error
    if not isinstance(answer, celtypes.BoolType):
        raise ConditionFailed(f"{condition}: is neither true nor false, but {answer}")
    return bool(answer)


def problem_with(condition: str, sample: Mapping[str, Any]) -> str:
    """What is wrong with a condition before anything was measured; empty when nothing is.

    Args:
        sample: a value for every name that it may use. None stands for a value of any type.
    """
    try:
        tree = Environment().compile(condition)
    except CELParseError as error:
        return f"is not CEL, column {error.column}: {condition}"
    names = {name for name in _names(tree, frozenset()) if name not in _TYPES}
    unknown = sorted(names - sample.keys())
    if unknown:
        return f"unknown name {unknown[0]}; known here: {', '.join(sample)}"
    functions = sorted(set(_functions(tree)) - _FUNCTIONS)
    if functions:
        return f"unknown function {functions[0]}"
    return "" if any(sample[name] is None for name in names) else _problem_with_types(condition, sample)


def _problem_with_types(condition: str, sample: Mapping[str, Any]) -> str:
    try:
        answer = _evaluate(condition, sample)
    except CELEvalError as error:
        # A sample's zero may divide or its list be empty: only types are what they will be.
        return f"cannot be judged: {_why(error)}" if TypeError in error.args else ""
    return "" if isinstance(answer, celtypes.BoolType) else "must be true or false, such as value < 0.01"


def _evaluate(condition: str, values: Mapping[str, Any]) -> Any:
    environment = Environment()
    program = environment.program(environment.compile(condition))
    return program.evaluate({name: json_to_cel(value) for name, value in values.items()})


def _why(error: Exception) -> str:
    """The evaluator's reason without the whole of what it knew."""
    if TypeError in error.args:
        return "the types do not fit each other (numbers in json are doubles: == 1.0, not == 1)"
    return str(error.args[0]).partition(" (in activation")[0]


def _names(node: Any, bound: frozenset[str]) -> Iterator[str]:
    """Every name that is used and that no macro binds."""
    if not isinstance(node, Tree):
        return
    if node.data == "ident":
        name = str(node.children[0])
        if name not in bound:
            yield name
    elif node.data == "member_dot_arg" and node.children[1] in _MACROS:
        receiver, _, arguments = node.children
        yield from _names(receiver, bound)
        variable = next(_names(arguments.children[0], frozenset()), "") if arguments else ""
        yield from _names(arguments, bound | {variable})
    else:
        for child in node.children:
            yield from _names(child, bound)


def _functions(tree: "Tree[Token]") -> Iterator[str]:
    for node in tree.iter_subtrees():
        if node.data == "ident_arg":
            yield str(node.children[0])
        elif node.data == "member_dot_arg" and node.children[1] not in _MACROS:
            yield str(node.children[1])
