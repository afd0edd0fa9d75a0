from pushforward.data.spaces.image import ImageSpace as ImageSpace
from pushforward.data.spaces.space import Space as Space, kinds as kinds, measure as measure
from pushforward.data.spaces.vector import ScaledSpace as ScaledSpace, VectorSpace as VectorSpace
from pushforward.tables.space import TableSpace as TableSpace
