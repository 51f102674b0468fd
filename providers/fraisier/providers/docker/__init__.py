"""Docker engines. Inside this package ``docker`` is the library: imports are absolute."""

from fraisier.providers.docker.options import DockerOptions
from fraisier.providers.docker.provider import DockerProvider

__all__ = ["DockerOptions", "DockerProvider"]
