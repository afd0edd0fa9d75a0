from pushforward.recipes.adversarial import finish as finish, gan as gan
from pushforward.recipes.autoencoding import (
    autoencoder as autoencoder,
    hvae as hvae,
    vae as vae,
    vqvae as vqvae,
)
from pushforward.recipes.diffusion import ddpm as ddpm, edm as edm, vdm as vdm
from pushforward.recipes.flow_maps import (
    consistency as consistency,
    distil as distil,
    dmd as dmd,
    meanflow as meanflow,
    shortcut as shortcut,
)
from pushforward.recipes.flow_matching import flow as flow
from pushforward.recipes.recipe import (
    MODELS as MODELS,
    Recipe as Recipe,
    RecipeFunction as RecipeFunction,
    Schedule as Schedule,
    Training as Training,
    frozen_parts as frozen_parts,
    load_file as load_file,
    missing_parts as missing_parts,
    named as named,
    settings as settings,
    words_of as words_of,
)
