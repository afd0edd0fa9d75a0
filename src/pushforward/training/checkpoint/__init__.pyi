from pushforward.training.checkpoint.storage import (
    latest as latest,
    save as save,
    step_name as step_name,
    unfinished as unfinished,
)
from pushforward.training.checkpoint.tensors import Checkpoint as Checkpoint, load as load
