"""TrashNet Explorer: understand, train on and classify photos of waste.

Importing the package is cheap: nothing heavy is loaded until a module that needs it is.
"""

from trashnet.config import TrainConfig
from trashnet.errors import TrashnetError

__version__ = "0.1.0"

__all__ = ["TrainConfig", "TrashnetError", "__version__"]
