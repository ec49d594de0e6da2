"""What a site of a generator held at every sampling step, and both halves of classifier-free
guidance.
"""
