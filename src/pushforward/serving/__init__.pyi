from pushforward.serving.admission import Limits as Limits, Model as Model
from pushforward.serving.connections import Connections as Connections
from pushforward.serving.engine import (
    Busy as Busy,
    Engine as Engine,
    Request as Request,
    working as working,
)
from pushforward.serving.http import application as application
from pushforward.serving.server import check_installed as check_installed, serve as serve
