"""AWS Glue on a laptop: jobs that run, workflows that follow them, crawlers that register tables.

Definitions and the catalogue are kept by the emulator behind the gateway; what happens is done here.
"""
