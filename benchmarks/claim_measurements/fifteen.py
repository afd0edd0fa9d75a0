"""The fifteen claims of the field, each with its figures, its rule, what was measured and what limits that."""

from __future__ import annotations

from claim_measurements import rules, sampling_rules
from claim_measurements.figures import Claim

CLAIMS = (
    Claim(
        "A GAN samples in one pass and can collapse.",
        ("stacked_digits", "ablation_ring", "ring", "grid"),
        rules.collapse,
        rules.collapse_rule,
        "calls {calls:value}; modes kept by the original game {original}",
        "8 modes; by the default game {default}",
        "The original game (no penalty, non-saturating loss) and the default game (relativistic pairs, penalties on both "
        "sides) on a ring of eight Gaussians, 60 s of training each. A mode is kept with 50 to 150 % of its mass. The "
        "original game keeps {original} of eight, the default game {default}. With PacGAN's networks and settings the "
        "original game keeps {ring} of the ring's eight modes and {grid} of a grid's 25.",
        "Points in a plane, small perceptrons, one learning rate each: whether a game collapses depends on its networks "
        "and settings.",
    ),
    Claim(
        "A GAN's discriminator is a learnable loss; a loss written by hand blurs.",
        ("digits", "claim_blur", "holes_mnist"),
        rules.blur,
        rules.blur_rule,
        "sharpness: critic {critic}; class means {means}; energy distance {energy}; VAE's bound {bound}",
        "real data {floor}",
        "Power of high frequencies of generated digits over that of held-out ones. The energy distance trains the GAN's "
        "own generator with no critic; class means are the minimum of the squared error; the VAE's bound is that of "
        "`digits.py`. On MNIST, reconstructions of an autoencoder reach {squared_mnist:value} of real sharpness by the "
        "squared error and {critic_mnist:value} with a critic added (one training each).",
        "Images of 8 x 8 have little fine detail to lose, so differences are small there; those on MNIST are large, but "
        "of one training. Noise also counts as sharpness, so a value near 1 alone proves no quality. Trainings of the "
        "energy distance are shorter than those of `digits.py`.",
    ),
    Claim(
        "A plain autoencoder's latent space has holes, a VAE's has not.",
        ("holes_mnist",),
        rules.holes,
        rules.holes_rule,
        "coverage over real data's of draws from N(0, 1): plain {plain}; VAE {vae}",
        "1 (real data)",
        "The same networks trained with and without the KL term on MNIST, draws from N(0, 1) decoded, coverage of "
        "held-out digits. Between the codes of two digits (spherical midpoints) the plain autoencoder covers "
        "{plain_between:value}, the VAE {vae_between:value}: this shows whether holes lie between codes as well.",
        "One training each; the interval is over samplings. The plain autoencoder was never asked to fill N(0, 1), and "
        "`holes.py` has a prior that is learned on its codes beside it.",
    ),
    Claim(
        "VAEs train stably and blur.",
        ("claim_stability", "digits", "claim_blur", "mnist", "holes_mnist"),
        rules.vaes,
        rules.vaes_rule,
        "failed {failed}; sharpness {sharpness}",
        "failed 0; sharpness of real data {floor}",
        "Trainings that fail over seeds and learning rates of 1 and 10 times the recipe's, and sharpness after 60 s at "
        "the recipe's rate. On MNIST, one VAE of ten minutes has a sharpness of {mnist:value}.",
        "The sharpness depends on where codes are drawn: of the VAE of `holes.py`, draws from the prior have "
        "{decoded:value} and those of a flow in its latent space {latent_flow:value} of real sharpness.",
    ),
    Claim(
        "Reparameterisation gives usable gradients.",
        ("claim_gradients",),
        rules.gradients,
        rules.gradients_rule,
        "variance of the score function's gradient, with a baseline, over the reparameterised one {ratio_baseline}",
        "1 (equal variances)",
        "The gradient of a VAE's reconstruction error by the mean of a code, from one draw. Without a baseline the ratio "
        "is {ratio}. The standard deviation of one draw is {noise_reparameterised:value} times the gradient's norm when "
        "reparameterised and {noise_score:value} times by the score function. On a quadratic, whose variances are known "
        "in closed form, both estimators agree with them within {error_score:value} (mean relative error).",
        "Codes of 16 numbers and a decoder after 200 steps. In the closed form the ratio grows with the length of the "
        "code. Better control variates than a mean exist.",
    ),
    Claim(
        "x_t can be drawn in one jump.",
        ("claim_jump",),
        rules.jump,
        rules.jump_rule,
        "largest difference of a moment {apart:value} standard errors, at most {apart_most:value}; a thousand steps take "
        "{speedup} times as long",
        "two sets of jumps: {by_chance:value}, at most {by_chance_most:value}",
        "Chains of up to 1,000 single steps against jumps by the path that `ddpm` is trained on: means, variances, "
        "fourth moments and products with x at four levels. The claim is a theorem about Gaussians; the measurement "
        "checks the code.",
        "Moments up to the fourth of 20,000 points. Values are geometric means over levels and seeds. Times are of one "
        "shared core.",
    ),
    Claim(
        "Regression of the noise trains without tricks.",
        ("claim_stability", "ring", "grid", "ablation_ring"),
        rules.noise,
        rules.noise_rule,
        "failed: ddpm {ddpm}; original GAN {original}; default GAN {gan}",
        "0",
        "Trainings that fail, of two kinds. On digits, over seeds and learning rates of 1 and 10 times the recipe's, "
        "those that diverge or end at more than three times the best median Fréchet distance of their family. On ring "
        "and grid, at the recipe's rate, those that diverge or lose a mode. With the package's own networks, {ablation} "
        "of the original game's trainings lose a mode of the ring (not counted).",
        "Trainings on digits are short, of tiny networks; each family is judged against itself there, so that slow "
        "learning is not counted, and a family that is bad at every rate counts as stable. The original game has "
        "PacGAN's settings on ring and grid. Shares pool digits, ring and grid, so they move with the number of trainings of "
        "each. The recipe of `ddpm` is not free of devices either: it clips gradients and "
        "averages weights.",
    ),
    Claim(
        "Diffusion needs hundreds of steps, fast solvers do not.",
        ("claim_calls", "mnist_calls_small"),
        sampling_rules.calls,
        sampling_rules.calls_rule,
        "calls needed: ancestral sampler {ancestral}; DDIM {ddim}; DPM-Solver++ {fast}",
        "1 call",
        "The fewest calls by which samples of the ideal denoiser of eight narrow Gaussians, known in closed form, have "
        "the true spread about the modes within 10 % and the true share near them within .02. On MNIST, with one trained "
        "DDPM, 8 calls have {mnist_unipc} (UniPC) and {mnist_ddim} (DDIM) times the Fréchet distance of 64 calls.",
        "Calls are those that were tried (5 to 1,000). The narrower the modes, the more calls; a network's own errors "
        "hide small errors of the solver, as on MNIST, whose interval is over two blocks of samples of one training.",
    ),
    Claim(
        "Latent diffusion saves 100 times the compute.",
        ("latent_mnist", "latent_emoji_swap_1"),
        sampling_rules.latent,
        sampling_rules.latent_rule,
        "saving: time of a sample {time}; arithmetic of a sample {sampling}; of a training example {training}",
        "1 (no saving)",
        "A flow in the latent space of its own autoencoder against a flow of pixels, on MNIST (28 x 28) and emoji; the "
        "decoder is included in sampling, the autoencoder's training is not. The interval is the range over both data "
        "sets; arithmetic is counted, not sampled.",
        "The images are small (28 and 64 pixels a side); published savings are of images of 256 and more.",
    ),
    Claim(
        "Straight paths need fewer steps.",
        ("claim_straightness",),
        sampling_rules.straight,
        sampling_rules.straight_rule,
        "Euler steps needed: curved {vp}; straight {straight}; with optimal transport {ot}; reflowed {reflow}",
        "1 step",
        "Euler steps that end within .1 standard deviations of the exact solution of the same weights, each model on its "
        "own path, after the same training. The error that 8 steps leave on the curved path is {curved_over} times that "
        "on the straight one, and that on the straight one {reflow_saves} times that of its reflow.",
        "Two dimensions, one solver, equal steps in time. A path is a choice of sampling too: the same weights can be "
        "solved on either path (the claim on flow matching below), and better solvers may hide the difference.",
    ),
    Claim(
        "Optimal transport straightens the paths.",
        ("claim_straightness",),
        sampling_rules.transport,
        sampling_rules.transport_rule,
        "straightness: independent noise {independent}; optimal transport {ot}; ratio {ratio}",
        "0 (straight lines)",
        "The mean squared deviation of trajectories from straight lines, over their squared length, of the same network "
        "after as many steps with and without minibatch optimal transport in groups of 128.",
        "Two dimensions. In many dimensions a group holds no close pairs, so the effect is expected to shrink.",
    ),
    Claim(
        "Diffusion is a special case of flow matching.",
        ("claim_calls", "mnist_calls_small"),
        sampling_rules.same,
        sampling_rules.same_rule,
        "largest difference of a sample {float64_most:value} (float64), {float32_most:value} (float32)",
        "rounding: 2.2e-16 and 1.2e-07",
        "The weights of a DDPM, sampled by DDIM on its own path and by Euler's method on the straight path, from matched "
        "noise at matched noise levels, in model units. On MNIST the two ODEs, solved adaptively, differ by "
        "{mnist:value} (root mean square).",
        "It holds for sampling with Gaussian noise. The losses of both weigh noise levels differently, so their "
        "trainings differ.",
    ),
    Claim(
        "Spreading the difficulty over many steps makes training stable.",
        ("claim_stability", "ring", "grid"),
        rules.many,
        rules.many_rule,
        "failed: flow, ddpm and edm {steps}; GAN {gan}; original GAN {original}; VAE {vae}; less than the original GAN by "
        "{less_than_original}",
        "0",
        "The same trainings as for the regression of noise, counted by family; `edm` was trained on ring and grid alone, "
        "the VAE on digits alone.",
        "Shares pool digits, ring and grid, so they move with the number of trainings of each, which families do not share. "
        "The trainings show which families fail, not why. A VAE takes one step as well: where it fails as rarely as a "
        "flow, the steps alone cannot be the reason.",
    ),
    Claim(
        "Learning p(data) is harder than learning p(label | data).",
        ("claim_labels",),
        rules.labels,
        rules.labels_rule,
        "digits needed: generator {coverage}; classifier {accuracy}; ratio {ratio}",
        "ratio 1",
        "Logistic regression and a flow learn from the same 50 to 1,437 digits. Needed is the number at which accuracy, "
        "or coverage of held-out digits, passes 95 % of what the same learner reaches with all of them.",
        "Accuracy and coverage are different scales, and other ones move the ratio; coverage even falls with more digits, which "
        "lowers the bar. The flow is given the label, and all "
        "its trainings have the same short budget, which limits its best coverage.",
    ),
    Claim(
        "Each family's loss is a regression, the GAN's is not.",
        ("claim_regression", "claim_game"),
        rules.regression,
        rules.regression_rule,
        "left over the conditional mean: flow {flow}; ddpm {ddpm}; VAE {vae}; cosine of the GAN's directions {game}, without a "
        "game {control}, ratio {game_over_control}",
        "0 for a regression that has converged; cosine 1 for a label that stays",
        "On 128 points every conditional mean is known. Denoisers are compared with E[v | x_t], the VAE's decoder with "
        "E[x | z] under its own encoder. For the GAN, the directions in which the critic pushes the same points after a "
        "third of the training and at its end; as a control, the same critic against a generator that does not learn.",
        "Tiny networks, short trainings, two dimensions. The VAE's loss has a second term, the KL divergence, which is "
        "no regression; and its E[x | z] moves with the encoder. A critic by itself is a regression too, of the mark "
        "real or generated.",
    ),
)
