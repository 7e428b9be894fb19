"""Import of torchvision if its compiled operators don't fit the build of torch."""

import importlib
import logging
import sys
from types import ModuleType

import torch

__all__ = ['import_torchvision']

logger = logging.getLogger(__name__)

_TRAP = 'operator torchvision::nms does not exist'
_SCHEMAS = (
    'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
    'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
)

# The schemas live exactly as long as the Library object that defined them.
_libraries: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, even if its compiled operators don't fit the build of torch.

    The torchvision of PyPI is compiled for one build of torch. With another, such as a CPU build,
    its operators don't load, and the import fails with ``RuntimeError: operator torchvision::nms
    does not exist``: torchvision registers shapes for ``nms`` and ``qnms`` without checking that
    they exist. CLIP uses neither of them.

    This function imports torchvision as usual. Only after this error it declares the two operators
    (without an implementation) and imports again. Pictures and transforms then work;
    ``torchvision.ops.nms`` still doesn't.

    Call it before the first import of torchvision or open_clip.

    Returns:
        The module ``torchvision``.

    Raises:
        ImportError: If torchvision is not installed.
        RuntimeError: If its import fails for any other reason.
    """
    try:
        return importlib.import_module('torchvision')
    except RuntimeError as error:
        if _TRAP not in str(error):
            raise
    logger.info("torchvision's compiled operators don't fit this torch; declaring nms and qnms")
    _declare_schemas()
    _remove_half_imported()
    return importlib.import_module('torchvision')


def _declare_schemas() -> None:
    # 'FRAGMENT' also works if a part of the namespace is declared already.
    library = torch.library.Library('torchvision', 'FRAGMENT')
    for schema in _SCHEMAS:
        library.define(schema)
    _libraries.append(library)


def _remove_half_imported() -> None:
    for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
        del sys.modules[name]
