# The laptop's emulator. Everything is thrown away with it.
environment   = "local"
region        = "eu-central-1"
force_destroy = true

# Shows the masked copies. No lifecycle rules and no KMS here: both cost minutes on an emulator.
public_access = "read"

log_retention_days = 7

workflow = {} # started by hand

# What nobody on the laptop would deliver, run or look at; it would only be one more thing that an emulator
# must know. The table in docs/deploy.md tells what differs.
access_logs = false
athena      = false
monitoring  = false
