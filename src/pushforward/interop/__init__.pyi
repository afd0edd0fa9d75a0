from pushforward.interop.diffusers import (
    DiffusersDecoder as DiffusersDecoder,
    DiffusersEncoder as DiffusersEncoder,
    DiffusersUNet as DiffusersUNet,
    autoencoder_from_diffusers as autoencoder_from_diffusers,
    from_diffusers as from_diffusers,
    to_diffusers as to_diffusers,
)
