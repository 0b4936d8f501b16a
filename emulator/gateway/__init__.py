"""The one endpoint of the Docker stack: a reverse proxy in front of LocalStack and the catalogue emulator.

LocalStack's free edition has no Glue and no Athena; another emulator has. Clients know one address, and
the gateway sends each request to the emulator that serves its service. It changes nothing on the way and
keeps no body in memory. Started as ``python -m emulator.gateway``; its settings are environment
variables, see :class:`~emulator.gateway.settings.GatewaySettings`.
"""
