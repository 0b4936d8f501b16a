environment = "prod"
region      = "eu-central-1"

# account_id = "123456789012" # with credentials of any other account, nothing is done

# Bucket names are unique in all of AWS: put your account id or another word of your own here.
bucket_suffix = ""

# A key of the stage's own for everything that is stored. Or name yours with kms_key_arn.
create_kms_key = true

number_of_workers   = 4
job_timeout_minutes = 180
log_retention_days  = 365

lifecycle_days = {
  incomplete_uploads = 7
  noncurrent         = 90
  bronze_ia          = 60
  bronze_archive     = 180
}

workflow = { schedule = "cron(15 3 * * ? *)" } # UTC
