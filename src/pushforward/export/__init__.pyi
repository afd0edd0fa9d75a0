from pushforward.export.files import (
    Exported as Exported,
    Graph as Graph,
    Unlike as Unlike,
    export as export,
    graph as graph,
    showable as showable,
)
from pushforward.export.program import exported as exported
