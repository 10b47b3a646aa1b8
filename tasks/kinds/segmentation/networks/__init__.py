"""Networks that outline cells.

These files import nothing of Nightscope but each other and `architectures.py`: copied together, they serve a model
anywhere.
"""

from tasks.kinds.segmentation.networks.files import build as build
from tasks.kinds.segmentation.networks.files import read as read
from tasks.kinds.segmentation.networks.files import write as write
from tasks.kinds.segmentation.networks.raw import RawInstances as RawInstances
from tasks.kinds.segmentation.networks.raw import no_instances as no_instances
