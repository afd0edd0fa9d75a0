"""The training loop: trainer, step, optimisers, budget, and what is watched of them."""
