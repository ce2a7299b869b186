"""What is computed: one record for each metric and each kernel, in float64 NumPy.

The records stand below everything else: no other module of the package is imported here.
"""
