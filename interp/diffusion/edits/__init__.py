"""Images made with something changed: along directions, along curves, across boundaries, from their
own code.
"""
