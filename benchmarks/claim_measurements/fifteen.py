"""The fifteen claims of the field, each with its figures, its rule, what was measured and what
limits that.
"""

from __future__ import annotations

from claim_measurements import rules, sampling_rules
from claim_measurements.figures import Claim

CLAIMS = (
    Claim(
        "A GAN samples in one pass and can collapse.",
        ("stacked_digits", "ablation_ring", "ring", "grid"),
        rules.collapse,
        rules.collapse_rule,
        "calls {calls:value}; modes kept by the original GAN {original}",
        "8 modes; the default GAN keeps {default}",
        "The original GAN (no penalty, non-saturating loss) and the default GAN (relativistic "
        "pairs, penalties on both sides) are trained for 60 s each on a ring of eight Gaussians. A "
        "mode is kept if it has 50 to 150 % of its mass. The original GAN keeps {original} of "
        "eight "
        "modes, the default GAN {default}. With PacGAN's networks and settings, the original GAN "
        "keeps {ring} of the ring's eight modes and {grid} of the grid's 25.",
        "Only points in a plane, small MLPs and one learning rate each. Whether a GAN collapses "
        "depends on its networks and settings.",
    ),
    Claim(
        "A GAN's discriminator is a learnable loss; a hand-written loss blurs.",
        ("digits", "claim_blur", "holes_mnist"),
        rules.blur,
        rules.blur_rule,
        "sharpness: discriminator {critic}; class means {means}; energy distance {energy}; VAE "
        "{bound}",
        "real data {floor}",
        "Sharpness is the high-frequency power of generated digits relative to that of held-out "
        "digits. The energy distance trains the GAN's generator without a discriminator. Class "
        "means minimise the squared error. The VAE is that of `digits.py`. On MNIST, "
        "reconstructions of an autoencoder reach {squared_mnist:value} of real sharpness with the "
        "squared error and {critic_mnist:value} with an additional discriminator (one training run "
        "each).",
        "Images of 8 x 8 contain little fine detail, so the differences are small. Those on MNIST "
        "are large, but come from one training run. Noise also counts as sharpness, so a value "
        "near "
        "1 does not prove quality. The energy distance was trained for a shorter time than the "
        "models of `digits.py`.",
    ),
    Claim(
        "A plain autoencoder's latent space has holes, a VAE's does not.",
        ("holes_mnist",),
        rules.holes,
        rules.holes_rule,
        "coverage of decoded N(0, 1), relative to real data: plain {plain}; VAE {vae}",
        "1 (real data)",
        "The same networks were trained with and without the KL term on MNIST. Samples from N(0, "
        "1) "
        "are decoded, and their coverage of held-out digits is measured. Between the latents of "
        "two "
        "digits (spherical midpoints), the plain autoencoder covers {plain_between:value} and the "
        "VAE {vae_between:value}, which shows whether there are also holes between latents.",
        "One training run each; the interval is over samplings. The plain autoencoder was not "
        "trained to match N(0, 1); `holes.py` also learns a prior on its latents.",
    ),
    Claim(
        "VAEs train stably and blur.",
        ("claim_stability", "digits", "claim_blur", "mnist", "holes_mnist"),
        rules.vaes,
        rules.vaes_rule,
        "failed {failed}; sharpness {sharpness}",
        "failed 0; sharpness of real data {floor}",
        "The fraction of failed training runs over seeds and over learning rates of 1 and 10 times "
        "the default, and the sharpness after 60 s at the default learning rate. On MNIST, a VAE "
        "trained for ten minutes has a sharpness of {mnist:value}.",
        "The sharpness depends on where latents are sampled. For the VAE of `holes.py`, samples "
        "from the prior have {decoded:value} of real sharpness and those of a flow in its latent "
        "space {latent_flow:value}.",
    ),
    Claim(
        "Reparameterisation gives usable gradients.",
        ("claim_gradients",),
        rules.gradients,
        rules.gradients_rule,
        "variance of the score-function gradient with a baseline, relative to the reparameterised "
        "gradient: {ratio_baseline}",
        "1 (equal variances)",
        "The gradient of a VAE's reconstruction error with respect to the mean of a latent is "
        "estimated from one sample. Without a baseline, the variance ratio is {ratio}. The "
        "standard "
        "deviation of one estimate is {noise_reparameterised:value} times the norm of the gradient "
        "with reparameterisation and {noise_score:value} times with the score function. On a "
        "quadratic function, whose variances are known in closed form, both estimators agree with "
        "them within {error_score:value} (mean relative error).",
        "The latents have 16 dimensions, and the decoder was trained for 200 steps. In the closed "
        "form, the ratio grows with the dimension of the latent. Better control variates than a "
        "mean exist.",
    ),
    Claim(
        "x_t can be drawn in one jump.",
        ("claim_jump",),
        rules.jump,
        rules.jump_rule,
        "largest difference between moments {apart:value} standard errors, at most "
        "{apart_most:value}; a thousand steps take {speedup} times as long",
        "two sets of jumps: {by_chance:value}, at most {by_chance_most:value}",
        "Chains of up to 1,000 single steps are compared with jumps along the path on which `ddpm` "
        "is trained: means, variances, fourth moments and products with x at four noise levels. "
        "The "
        "claim is a theorem about Gaussians, so the measurement checks the code.",
        "Moments up to the fourth of 20,000 points. Values are geometric means over noise levels "
        "and seeds. Times were measured on one shared core.",
    ),
    Claim(
        "Regression of the noise trains without tricks.",
        ("claim_stability", "ring", "grid", "ablation_ring"),
        rules.noise,
        rules.noise_rule,
        "failed: ddpm {ddpm}; original GAN {original}; default GAN {gan}",
        "0",
        "The fraction of failed training runs. On digits, seeds and learning rates of 1 and 10 "
        "times the default are combined; a run fails if it diverges, or if its Fréchet distance is "
        "more than three times the best median of its family. On ring and grid, at the default "
        "learning rate, a run fails if it diverges or loses a mode. With the package's own "
        "networks, {ablation} of the original GANs lose a mode of the ring (not counted).",
        "On digits, training is short and the networks are tiny. Each family is compared only with "
        "itself, so slow learning does not count as failure, and a family that is bad at every "
        "learning rate counts as stable. On ring and grid, the original GAN has PacGAN's settings. "
        "Digits, ring and grid are pooled, so the fractions depend on the number of training runs "
        "on each. The recipe of `ddpm` also uses tricks: gradient clipping and averaged weights.",
    ),
    Claim(
        "Diffusion needs hundreds of steps, fast solvers do not.",
        ("claim_calls", "mnist_calls_small"),
        sampling_rules.calls,
        sampling_rules.calls_rule,
        "calls needed: ancestral sampler {ancestral}; DDIM {ddim}; DPM-Solver++ {fast}",
        "1 call",
        "The smallest number of calls after which samples of an ideal denoiser have the true "
        "standard deviation around the modes within 10 % and the true fraction of samples near "
        "them "
        "within .02. The denoiser is known in closed form, for eight narrow Gaussians. On MNIST, "
        "with one trained DDPM, the Fréchet distance after 8 calls is {mnist_unipc} (UniPC) and "
        "{mnist_ddim} (DDIM) times that after 64 calls.",
        "Only some numbers of calls from 5 to 1,000 were tried. Narrower modes need more calls. "
        "Errors of a network hide small errors of the solver, as on MNIST, where the interval is "
        "over two blocks of samples from one training run.",
    ),
    Claim(
        "Latent diffusion saves 100 times the compute.",
        ("latent_mnist", "latent_emoji_swap_1"),
        sampling_rules.latent,
        sampling_rules.latent_rule,
        "saving: sampling time {time}; operations per sample {sampling}; operations per training "
        "example {training}",
        "1 (no saving)",
        "A flow in the latent space of its own autoencoder is compared with a flow of pixels, on "
        "MNIST (28 x 28) and on emoji. Sampling includes the decoder, but the training of the "
        "autoencoder is not counted. The interval is the range over both data sets. Operations are "
        "counted rather than timed.",
        "The images are small (28 and 64 pixels per side); published savings are for 256 pixels "
        "and more.",
    ),
    Claim(
        "Straight paths need fewer steps.",
        ("claim_straightness",),
        sampling_rules.straight,
        sampling_rules.straight_rule,
        "Euler steps needed: curved {vp}; straight {straight}; with optimal transport {ot}; "
        "reflowed {reflow}",
        "1 step",
        "The number of Euler steps after which samples are within .1 standard deviations of the "
        "exact solution for the same weights, each model on its own path, after the same training "
        "time. After 8 steps, the error on the curved path is {curved_over} times that on the "
        "straight path, and the error on the straight path is {reflow_saves} times that of its "
        "reflow.",
        "Two dimensions, one solver and equal time steps. The path can also be chosen for "
        "sampling: "
        "the same weights can be solved on either path (see claim 12), and better solvers may hide "
        "the difference.",
    ),
    Claim(
        "Optimal transport straightens the paths.",
        ("claim_straightness",),
        sampling_rules.transport,
        sampling_rules.transport_rule,
        "straightness: independent noise {independent}; optimal transport {ot}; ratio {ratio}",
        "0 (straight lines)",
        "The mean squared deviation of trajectories from straight lines, divided by their squared "
        "length. The same network is trained for the same number of steps with and without "
        "minibatch optimal transport in groups of 128.",
        "Two dimensions only. In many dimensions, a group contains no close pairs, so a smaller "
        "effect is expected.",
    ),
    Claim(
        "Diffusion is a special case of flow matching.",
        ("claim_calls", "mnist_calls_small"),
        sampling_rules.same,
        sampling_rules.same_rule,
        "largest difference of a sample {float64_most:value} (float64), {float32_most:value} "
        "(float32)",
        "rounding: 2.2e-16 and 1.2e-07",
        "The weights of a DDPM are sampled with DDIM on its own path and with Euler's method on "
        "the "
        "straight path, from matched noise at matched noise levels, in model units. On MNIST, "
        "adaptive solutions of the two ODEs differ by {mnist:value} (root mean square).",
        "The result applies to sampling with Gaussian noise. The two losses weight noise levels "
        "differently, so training differs.",
    ),
    Claim(
        "Spreading the difficulty over many steps makes training stable.",
        ("claim_stability", "ring", "grid"),
        rules.many,
        rules.many_rule,
        "failed: flow, ddpm and edm {steps}; GAN {gan}; original GAN {original}; VAE {vae}; "
        "difference from the original GAN {less_than_original}",
        "0",
        "The training runs of claim 7, counted by family. `edm` was trained only on ring and grid, "
        "the VAE only on digits.",
        "Digits, ring and grid are pooled, so the fractions depend on the number of training runs "
        "on each, which differs between families. The experiment shows which families fail, not "
        "why. A VAE also samples in one step: if it fails as rarely as a flow, the number of steps "
        "cannot be the only reason.",
    ),
    Claim(
        "Learning p(data) is harder than learning p(label | data).",
        ("claim_labels",),
        rules.labels,
        rules.labels_rule,
        "digits needed: generator {coverage}; classifier {accuracy}; ratio {ratio}",
        "ratio 1",
        "Logistic regression and a flow learn from the same 50 to 1,437 digits. The number needed "
        "is the one at which accuracy, or coverage of held-out digits, exceeds 95 % of its value "
        "with all digits.",
        "Accuracy and coverage are different scales, and other scales would change the ratio. "
        "Coverage even decreases with more digits, which lowers the threshold. The flow receives "
        "the label, and all flows have the same short budget, which limits their best coverage.",
    ),
    Claim(
        "Each family's loss is a regression, the GAN's is not.",
        ("claim_regression", "claim_game"),
        rules.regression,
        rules.regression_rule,
        "error relative to the conditional mean: flow {flow}; ddpm {ddpm}; VAE {vae}; cosine of "
        "the "
        "discriminator's directions: GAN {game}, fixed generator {control}, ratio "
        "{game_over_control}",
        "error 0 for a regression that has converged; cosine 1 for a fixed target",
        "On 128 points, every conditional mean is known. Denoisers are compared with E[v | x_t], "
        "and the decoder of the VAE with E[x | z] under its own encoder. For the GAN, the "
        "directions in which the discriminator moves the same points are compared after a third of "
        "the training and at its end. As a control, the same discriminator is trained against a "
        "generator that does not learn.",
        "Tiny networks, short training and two dimensions. The VAE's loss has a second term, the "
        "KL "
        "divergence, which is not a regression, and its E[x | z] changes with the encoder. A "
        "discriminator on its own is also a regression, of the label real or generated.",
    ),
)
