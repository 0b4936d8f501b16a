# The laptop's emulator. Everything is thrown away with it.
environment   = "local"
region        = "eu-central-1"
force_destroy = true

# Shows the masked copies. No lifecycle rules and no KMS here: both cost minutes on an emulator.
public_access = "read"

log_retention_days = 7
