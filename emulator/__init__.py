"""The laptop's AWS: an emulator that is started, stopped and kept beside a project.

It stands alone: nothing here knows what the project on top of it does.
"""

from emulator.native import NativeStack, find_home
from emulator.process import StackError
from emulator.status import StackStatus

__all__ = ["NativeStack", "StackError", "StackStatus", "find_home"]
