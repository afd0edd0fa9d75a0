from pushforward.conditions.columns import Columns as Columns, Numbers as Numbers
from pushforward.conditions.kind import (
    ConditionKind as ConditionKind,
    Request as Request,
    hidden as hidden,
    mask_of as mask_of,
    registry as registry,
)
from pushforward.conditions.label import Label as Label
