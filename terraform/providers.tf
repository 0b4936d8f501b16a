# The same provider block serves the laptop and AWS. On the laptop `tflocal` adds endpoints and dummy
# credentials in an override file; in AWS the usual chain applies (profile, SSO, role, environment).
provider "aws" {
  region              = var.region
  allowed_account_ids = var.account_id == null ? null : [var.account_id]

  default_tags {
    # None on the laptop: free emulators drop the tags that Glue jobs and crawlers are created with, so
    # that every plan would want to add them again.
    tags = var.environment == "local" ? {} : merge(
      {
        Project     = var.prefix
        Environment = var.environment
        ManagedBy   = "terraform"
      },
      var.tags,
    )
  }
}
