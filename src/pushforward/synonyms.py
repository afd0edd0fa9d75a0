"""Words of other libraries, looked up by errors before spellings are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable

# On each line a name of this library, and words for it elsewhere: verbs and functions, options,
# recipes, what a network predicts, features, solvers and metrics. A word may stand for several
# names: those that can be used in the place of the mistake are suggested.
_WORDS = """
sample            create draw gen generate infer inference predict synth synthesise synthesize
train             fit learn training
fit               learn train trainer training
evaluate          eval metrics score test validate validation
compare           benchmark leaderboard
distil            distill distillation
resume            continue
serve             api deploy host
export            convert onnx save_onnx to_onnx
inpaint           erase fill outpaint
interpolate       lerp morph slerp
impute            complete fillna
upscale           super_resolution superres
list              ls models recipes runs schedulers solvers
data              csv data_dir data_path dataset dataset_name datasets input train_data
data              train_data_dir
load              from_pretrained open restore
n                 count n_rows n_samples num_images num_images_per_prompt num_rows num_samples
n                 batch_size sample_size samples
steps             inference_steps iterations iters max_iter max_iters max_steps max_train_steps
steps             n_iter n_steps num_inference_steps num_iterations num_steps num_train_steps
steps             sampling_steps train_steps
scale             cfg cfg_scale guidance guidance_scale guidance_strength guidance_weight
interval          guidance_interval
label             category class class_ class_id class_idx class_label class_labels cls labels
given             condition conditions condition_columns known_columns
condition         conditions given
solver            integrator noise_scheduler ode_solver sampler scheduler
grid              sigmas timestep_spacing timesteps use_karras_sigmas
truncation        psi truncation_psi
threshold         clip_sample dynamic_thresholding thresholding
seed              generator manual_seed random_seed random_state
budget            duration max_time seconds time time_limit train_time
seconds           duration max_time time time_limit train_time
epochs            max_epochs n_epochs num_epochs num_train_epochs passes
batch             batch_size batchsize bs minibatch train_batch_size
lr                learning_rate
accumulate        accumulate_grad_batches grad_accum gradient_accumulation
accumulate        gradient_accumulation_steps
optimizer         optim optimiser
precision         amp bf16 dtype fp16 half mixed_precision torch_dtype
ema               ema_decay ema_rate use_ema
augment           augmentation augmentations random_flip transform transforms
size              model_size network_size
network           arch architecture backbone model net unet
init              fine_tune finetune init_from pretrained warm_start weights
checkpoint        ckpt resume_from resume_from_checkpoint revision
checkpoint_every  checkpoint_interval checkpointing_steps save_every save_interval save_steps
device            accelerator cuda gpu
devices           gpus n_gpus nproc_per_node num_gpus num_processes
track             log_with logger loggers report_to tensorboard wandb
trackers          log_with logger loggers report_to tensorboard track wandb
progress          disable_tqdm progress_bar tqdm verbose
out               file filename log_dir logdir outdir output output_dir output_file output_path
out               path run_dir save save_dir save_path
overwrite         exist_ok force
schema            metadata
target            label_col label_column target_column y_col
resize            image_size img_size resolution
workers           dataloader_num_workers num_workers
drop              drop_columns exclude ignore_columns
constraint        constraints
metrics           metric scores
features          extractor feature_extractor
ddpm              ddim diffusion iddpm ncsn score_based score_sde tab_ddpm tabddpm
edm               edm2 k_diffusion karras
flow              cfm flow_matching icfm otcfm rectified_flow sit stochastic_interpolant
gan               biggan copulagan ctgan dcgan fastgan r3gan stylegan stylegan2 wgan wgan_gp
vae               beta_vae betavae cvae tvae
hvae              nvae vdvae
vqvae             vq vq_vae vqgan
autoencoder       ae autoencoderkl
consistency       cm consistency_model ect ict
meanflow          mean_flow
dmd               dmd2
inception         fid inception_v3 inceptionv3
noise             eps epsilon
data              sample start x0 x_0 x_start
v                 v_pred v_prediction
velocity          flow_prediction
ancestral         ddpm ddpmscheduler euler_a euler_ancestral eulerancestraldiscretescheduler
adaptive          dopri5 rk45
ddim              ddimscheduler
deis              deismultistepscheduler
dpm               dpm++ dpm++_2m dpm_solver dpmpp_2m dpmsolver dpmsolvermultistepscheduler
dpmsde            dpm++_sde dpmpp_2m_sde dpmpp_sde dpmsolversdescheduler
euler             eulerdiscretescheduler flowmatcheulerdiscretescheduler
heun              flowmatchheundiscretescheduler heundiscretescheduler
ipndm             ipndmscheduler plms pndm pndmscheduler
singlestep        dpmsolversinglestepscheduler
unipc             unipcmultistepscheduler
frechet           fd fid frechet_distance frechet_inception_distance
kernel            kid kernel_distance mmd
two_sample        c2st
nearest_rows      dcr
utility           ml_efficacy tstr
membership        mia
memorisation      memorization
wasserstein       emd earth_mover
"""

# Said of a word for which there is no name in the place of the mistake
_NOTES = {
    "beta_schedule noise_schedule": "The noise schedule is a path: pf.VP(), pf.Cosine() or "
    "pf.Linear().",
    "callback callbacks": "In Python, pass a pushforward.training.Watcher as progress=.",
    "checkpoint ckpt from resume_from resume_from_checkpoint revision": "Name a checkpoint after "
    "its run: RUN@step_000500 "
    '(in Python: checkpoint="step_000500").',
    "compile torch_compile": "pushforward does not compile networks.",
    "cpu cuda to": 'Choose the device when loading the run: pf.load(RUN, device="cuda").',
    "delta differential_privacy dp epsilon": "Differential privacy is not supported.",
    "dtype torch_dtype": "Samples are float32 tensors. Convert them, for example with "
    "samples.half().",
    "fid frechet": 'Scores are metrics: pf.evaluate(run, metrics=["frechet"]), or pushforward '
    "evaluate RUN.",
    "fine_tune finetune": "Start from the weights of a run: pushforward train RECIPE --init RUN.",
    "from_pretrained": "A run is identified by its folder, such as runs/digits-flow.",
    "generate sample": "To draw samples, use run.sample(64) or pushforward sample RUN.",
    "latents": "To map your own noise, call run.transport(z, condition), which returns model "
    "units.",
    "latent_diffusion ldm stable_diffusion": "Train an autoencoder first, then ddpm in its latent "
    "space: "
    "pushforward train ddpm --latent RUN.",
    "lr_schedule lr_scheduler": "The learning rate schedule belongs to the recipe: "
    "recipe.training.changed(schedule=pf.Schedule(...)).",
    "metadata": "Column kinds are detected. To change them, use pf.data.load(frame, schema=...).",
    "num_train_timesteps": "Times are continuous, so models are not trained for a number of them.",
    "objective parameterization prediction_type": "Pass it to the denoiser: pf.Denoiser(network, "
    'path, "noise").',
    "output_type": "Samples are float32 tensors or, for tables, data frames; samples.save(FILE) "
    "writes images.",
    "pipeline": "Load a run with pf.load(RUN), and a diffusers folder with "
    "pf.interop.from_diffusers(FOLDER).",
    "prompt prompts text": "Models can be conditioned on labels and columns, but not on text.",
    "push_to_hub save save_model save_pretrained": "Runs are saved in their folder during "
    "training. "
    "Copy the folder, and load it with pf.load.",
    "scheduler": "Schedulers are called solvers here. To list them: pushforward list solvers.",
    "state_dict": "Get the weights with run.method.state_dict().",
    "unet2dmodel": "As a network: pf.interop.DiffusersUNet(...), with a UNet2DModel or its "
    "configuration.",
    "train": "To continue training, use pf.resume(run, steps=...).",
}


_NAMES: dict[str, list[str]] = {}
for _line in _WORDS.strip().split("\n"):
    _name, *_synonyms = _line.split()
    for _word in _synonyms:
        _NAMES.setdefault(_word, []).append(_name)
_NOTE_OF: dict[str, str] = {}
for _words, _note in _NOTES.items():
    _NOTE_OF |= dict.fromkeys(_words.split(), _note)


def _plain(word: str) -> str:
    return word.lower().lstrip("-").replace("-", "_").replace(" ", "_")


def is_listed(word: str) -> bool:
    """Return whether a word is in the table."""
    return _plain(word) in _NAMES or note_on(word) != ""


def names_for(word: str, known: Iterable[str]) -> list[str]:
    """Find all known names that a word or option stands for."""
    written = {_plain(name): name for name in known}
    return [written[name] for name in _NAMES.get(_plain(word), ()) if name in written]


def note_on(word: str) -> str:
    """Return a sentence about a word, after a space, or ""."""
    plain = _plain(word)
    note = _NOTE_OF.get(re.sub("^(?!lr_).*(?=pipeline$|scheduler$)", "", plain))
    if note:
        return f" {note}"
    return ""
