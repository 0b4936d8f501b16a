"""The part of Glue's own Python library that scripts need on a laptop; a job finds it on its path."""
