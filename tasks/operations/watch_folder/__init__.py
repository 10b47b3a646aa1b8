"""`nightscope watch`: a microscope's folder, of which everything that is finished goes into the landing bucket."""

from tasks.operations.watch_folder.stills import Grouping
from tasks.operations.watch_folder.watch import Plan, Watched, watch_folder

__all__ = ["Grouping", "Plan", "Watched", "watch_folder"]
