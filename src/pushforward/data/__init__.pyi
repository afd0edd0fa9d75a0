from pushforward.data.core.arrays import from_arrays as from_arrays
from pushforward.data.core.check import check as check
from pushforward.data.core.dataset import Dataset as Dataset, Split as Split
from pushforward.data.core.load import (
    dataset_of as dataset_of,
    listing as listing,
    load as load,
    names as names,
    real_data as real_data,
)
from pushforward.data.core.named_set import (
    Density as Density,
    Derived as Derived,
    Source as Source,
    Truth as Truth,
    register as register,
)
from pushforward.data.core.sampler import Batch as Batch, Sampler as Sampler
from pushforward.data.images.pack import pack as pack
from pushforward.data.readers.reader import DataOptions as DataOptions
from pushforward.data.spaces import (
    ImageSpace as ImageSpace,
    ScaledSpace as ScaledSpace,
    Space as Space,
    TableSpace as TableSpace,
    VectorSpace as VectorSpace,
    kinds as kinds,
    measure as measure,
)
