"""A manifest that cannot be used, with every reason found in it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong.

    Attributes:
        path: the key, as ``regions.us-east-1.targets.0.host``.
        message: what is wrong with it and the way out.
        line: its line in the file, from 1; None when it is not in the file.
    """

    path: str
    message: str
    line: int | None = None


class ManifestInvalid(Exception):
    """The manifest cannot be used; nothing was touched.

    Attributes:
        file: the file's name as it was given.
        problems: all that was found, in the order of the file.
    """

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems, key=lambda problem: problem.line or 0)
        super().__init__("\n".join(self._say(problem) for problem in self.problems))

    def _say(self, problem: Problem) -> str:
        where = f"{self.file}:{problem.line}" if problem.line else self.file
        return f"{where}: {problem.path}: {problem.message}" if problem.path else f"{where}: {problem.message}"
