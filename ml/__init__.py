"""Models on Gold: probability of default of loans, and fraud among transactions.

Training and scoring need NumPy, scikit-learn, PyArrow and Jinja2 only, so the same files run on a laptop
and in SageMaker's own scikit-learn image. Nothing here knows where the lake is; :mod:`pipeline.models`
does.
"""
