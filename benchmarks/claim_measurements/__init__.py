"""Small measurements of claims that no other benchmark answers: seconds a training, three seeds,
results/claim_*.json.
"""
