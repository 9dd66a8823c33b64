from . import _reporting as _reporting
from ._app import app as app, main as main
