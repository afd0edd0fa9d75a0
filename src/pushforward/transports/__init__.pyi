from pushforward.transports.flow import (
    Autoencoder as Autoencoder,
    Flow as Flow,
    Latent as Latent,
    Map as Map,
    has_levels as has_levels,
    has_steps as has_steps,
    inner_of as inner_of,
    starts as starts,
    with_inner as with_inner,
)
from pushforward.transports.transport import (
    BATCH as BATCH,
    ConditionLike as ConditionLike,
    Transport as Transport,
    as_examples as as_examples,
    check_transport as check_transport,
)
