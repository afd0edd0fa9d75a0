from pushforward.data.spaces.scaled import (
    ImageSpace as ImageSpace,
    ScaledSpace as ScaledSpace,
    VectorSpace as VectorSpace,
)
from pushforward.data.spaces.space import Space as Space, kinds as kinds, measure as measure
from pushforward.tables.space import TableSpace as TableSpace
