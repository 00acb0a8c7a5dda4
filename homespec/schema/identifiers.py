"""The valid names of a spec, which become identifiers, file names and keys of state dicts.

Torch is not imported here, so the attributes of its containers are listed; a test holds the list
against the installed torch.
"""

from __future__ import annotations

import keyword
import re
import sys

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
"""ASCII only: look-alike letters of other scripts must not pass for the name they resemble."""

ROOT = "shared"
"""The name of the task tree's root: its experts are the ones that every task shares."""

TORCH_ATTRIBUTES = (
    "T_destination add_module append apply bfloat16 buffers call_super_init children clear compile "
    "copy cpu cuda double dump_patches eval extend extra_repr float forward fromkeys get "
    "get_buffer get_extra_state get_parameter get_submodule half insert ipu items keys "
    "load_state_dict modules mtia named_buffers named_children named_modules named_parameters "
    "parameters pop popitem register_backward_hook register_buffer register_forward_hook "
    "register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook "
    "register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module "
    "register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ "
    "set_extra_state set_submodule setdefault share_memory state_dict to to_empty train training "
    "type update values xpu zero_grad"
)
"""Attributes of torch.nn.Module, ModuleDict and ParameterDict: such a key cannot be a submodule."""

RESERVED = frozenset({ROOT, *TORCH_ATTRIBUTES.split()})

UNUSED = frozenset({"antigravity", "idlelib", "test", "this", "turtle", "turtledemo"})
"""Modules of Python that programs do not import."""
MODULES = (sys.stdlib_module_names - UNUSED) | {
    *("filelock", "fsspec", "functorch", "homespec", "jinja2", "mpmath", "networkx", "numpy"),
    *("setuptools", "sympy", "torch", "torchgen", "triton", "typing_extensions"),
}
"""Modules that a file of the same name would hide from imports beside it, mostly torch's."""


def is_reserved(name: str) -> bool:
    """Whether the name already has a meaning. Constants contain the root in capitals."""
    return name in RESERVED or name.lower() == ROOT


def is_identifier(name: str) -> bool:
    """Whether `name` is an ASCII identifier of at most 63 characters and not a Python keyword."""
    return bool(NAME.fullmatch(name)) and not keyword.iskeyword(name)
