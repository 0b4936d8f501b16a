"""Models on Gold: probability of default of loans, and fraud among transactions.

Training needs NumPy, scikit-learn, PyArrow and Jinja2 only, so the same files run on a laptop and in
SageMaker's own scikit-learn image. Scoring needs NumPy and PyArrow, which Glue brings: scikit-learn is
imported only where a model learns. Nothing here knows where the lake is; :mod:`pipeline.models` does.
"""
