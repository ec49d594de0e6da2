"""What images are and what can be read off them: factors, plain measures, the sanity gate,
sheets.
"""
