environment = "dev"
region      = "eu-central-1"

# account_id = "123456789012" # with credentials of any other account, nothing is done

# Bucket names are unique in all of AWS: put your account id or another word of your own here.
bucket_suffix = ""

force_destroy      = true
log_retention_days = 14

lifecycle_days = {
  incomplete_uploads = 3
  noncurrent         = 7
  bronze_ia          = 30
  bronze_archive     = 90
}

workflow = {} # started by hand
