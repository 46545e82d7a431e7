"""The wheel's platform: Linux if libraries were put beside the modules (scripts/build-wheel does), else any."""

from pathlib import Path

from setuptools import Distribution, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70
    from wheel.bdist_wheel import bdist_wheel

LIBRARIES = sorted(Path(__file__).parent.glob("nccl_net_srv6/*.so"))


class WithLibraries(Distribution):
    """setuptools asks this when it decides between a platform's package and one for all."""

    def has_ext_modules(self):
        return bool(LIBRARIES)


class Wheel(bdist_wheel):
    """The libraries know nothing of Python: one wheel serves every version of it."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


setup(distclass=WithLibraries, cmdclass={"bdist_wheel": Wheel})
